"""Writes a report page of runs: harl_isaac/cli/report.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import report

if __name__ == "__main__":
    report()
