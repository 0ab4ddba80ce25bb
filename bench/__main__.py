"""``python -m bench``: all figures."""

import sys

from bench.run import main

sys.exit(main())
