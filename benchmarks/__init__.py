"""Measurements, never tests: each module has ``run() -> dict`` that prints a table and returns its figures."""
