"""Copy a study, small, to publish it: harl_isaac/cli/archive.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import archive

if __name__ == "__main__":
    archive()
