"""The benchmarks are no part of the installed package; they are found from the repository's root."""

import sys
from pathlib import Path

ROOT = str(Path(__file__).parents[2])
if ROOT not in sys.path:
    # At the end, so that an installed cnnfast still comes before the source folder.
    sys.path.append(ROOT)
