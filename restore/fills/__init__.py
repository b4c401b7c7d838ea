"""The classical peers: every fill that a learned restoration must stand beside.

Start with :mod:`restore.fills.registry`, which names them all; each family has a file of its own.
"""
