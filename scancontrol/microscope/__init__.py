"""The microscope's server: hosts any instrument, simulated or real. Start in :mod:`.instrument`."""
