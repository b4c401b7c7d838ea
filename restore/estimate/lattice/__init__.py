"""A crystal from samples along any path, and whether they prove it. Start in :mod:`.crystal`."""
