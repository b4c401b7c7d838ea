"""The restorer as a resident process that owns the device. Start in :mod:`.server`."""
