"""Checks and measurements that need a CUDA machine: benchmarks/gpu_check.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # this checkout, whatever is installed

from benchmarks.gpu_check import main
from harl_isaac.cli.entry import run_script

if __name__ == "__main__":
    run_script(main)
