"""Plan, drive, record and watch partial scans. Start in :mod:`.cli`; the rooms: docs/explanation/architecture.md."""
