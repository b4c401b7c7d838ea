"""The answering side of the wire: any instrument behind one server. Start in :mod:`.instrument`."""
