"""Write a trained policy as a file of its own: harl_isaac/cli/export.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import export

if __name__ == "__main__":
    export()
