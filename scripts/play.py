"""Show a trained policy as a video or in the viewer: harl_isaac/cli/play.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from harl_isaac.cli.entry import play

if __name__ == "__main__":
    play()
