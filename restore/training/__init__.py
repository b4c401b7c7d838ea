"""Training the generator: draws, losses, the loop, calibration. Start in :mod:`.loop`."""
