"""Restoring a frame from samples along any path. Start in :mod:`.engine`; doors: serve, offline, train, evaluate."""
