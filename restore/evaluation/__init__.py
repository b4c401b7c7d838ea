"""How good restorers are, against truths: what is measured, tables, figures. Start in :mod:`.run`."""
