"""The poster, run again: named experiments, runs that resume, one table, figures and claims drawn from it.

Start at :mod:`.plans` for what is varied, :mod:`.__main__` for the command.
"""
