"""``python -m scancontrol`` is the ``scancontrol`` command."""

from scancontrol.cli import main

raise SystemExit(main())
