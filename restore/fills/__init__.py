"""The classical fills: established interpolations, which a learned restoration is always held beside.

Start with :mod:`restore.fills.registry`, which names them all; each family has a file of its own.
"""
