"""Lists every task with its agents: harl_isaac/cli/list_tasks.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import list_tasks

if __name__ == "__main__":
    list_tasks()
