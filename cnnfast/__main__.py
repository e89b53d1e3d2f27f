"""``python -m cnnfast``: the command line."""

import sys

from cnnfast.cli import main

sys.exit(main())
