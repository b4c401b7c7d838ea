"""The asking side of the wire, with its sockets. Start in :mod:`.link`."""
