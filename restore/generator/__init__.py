"""The networks that correct the estimate, their weights, intervals, precision. Start in :mod:`.generator`."""
