"""``python -m benchmarks.chaos``."""

import sys

from benchmarks.chaos import main

sys.exit(main())
