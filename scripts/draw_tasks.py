"""Draw the start of every hand task: harl_isaac/cli/draw_tasks.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import draw_tasks

if __name__ == "__main__":
    draw_tasks()
