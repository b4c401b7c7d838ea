"""Noise-free pictures of specimens whose every column, defect and edge is known: for evaluation and for training draws.

Start at :mod:`.draws`: ``draw(kind, shape, rng)`` and ``named(name, shape)`` give a :class:`.truth.Truth`;
:func:`.readings.draw_reading` counts electrons on it.
"""
