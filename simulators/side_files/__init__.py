"""What a simulator writes beside the wire, for whoever checks it: the truth, every exposure."""
