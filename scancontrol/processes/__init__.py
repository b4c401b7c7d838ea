"""Processes that are started, watched and end with their parent. Start in :mod:`.parent`."""
