"""What samples say by themselves, nothing learnt: readings, process, lattice. Start in :mod:`.process`."""
