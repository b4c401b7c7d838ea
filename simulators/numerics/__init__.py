"""Recurrences at the rate of samples (:mod:`.recurrence`): what coils, scintillator and current remember."""
