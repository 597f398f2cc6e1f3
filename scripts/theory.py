"""Compute the paper's examples and draw Figure 1: harl_isaac/cli/theory.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import theory

if __name__ == "__main__":
    theory()
