"""A stand-in for an Open Beam Interface device. Start in :mod:`.device`."""
