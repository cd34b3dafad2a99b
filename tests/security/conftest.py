"""Attacks use what tests of the edge use: a library behind its gateway."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "edge"))
