"""One module for each command: options in, a function of another room called, text out."""
