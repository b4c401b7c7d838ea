"""What the beam does to a specimen, and how much of it is allowed. Start in :mod:`.electrons`."""
