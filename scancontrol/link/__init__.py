"""A connection to a microscope, as the daemon and scripts use it. Start in :mod:`.link`."""
