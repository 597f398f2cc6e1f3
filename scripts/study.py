"""Trains tasks x algorithms x seeds: harl_isaac/cli/study.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import study

if __name__ == "__main__":
    study()
