"""Random numbers and recurrences at the rate of samples."""
