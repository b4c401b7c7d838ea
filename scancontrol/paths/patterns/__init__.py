"""One module for each family of patterns."""
