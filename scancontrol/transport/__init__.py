"""ZeroMQ without messages: keys, addresses, sockets."""
