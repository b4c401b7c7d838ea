"""Everything that draws for people: plans, recordings, dry runs, the ledger."""
