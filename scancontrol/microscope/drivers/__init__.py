"""Instruments: hardware, and recordings played as one."""
