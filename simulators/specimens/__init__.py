"""Specimens. Start with :mod:`simulators.specimens.library`: what a configuration can ask for, and how each is made."""
