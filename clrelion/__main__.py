"""``python -m clrelion``."""

import sys

from clrelion.cli.main import main

sys.exit(main())
