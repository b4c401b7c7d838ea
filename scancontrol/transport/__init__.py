"""ZeroMQ sockets, their addresses and their keys; no message is known here."""
