"""The scan coils' lag and the signal's delay, measured from scans. Start in :mod:`.estimate`."""
