"""The beginning of a point's process: its share of the cores, and an end with its study's."""

import ctypes
import os
import signal
import sys
from typing import List

PR_SET_PDEATHSIG = 1  # prctl(2)


def prepare(cores: List[int], parent: int) -> None:
    """Keep to these cores, and stop with a checkpoint when the process `parent` ends, in whatever way.

    torch, MuJoCo and the workers of a simulator start as many threads and processes as the process has cores.
    """
    if cores and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, cores)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it has ended already
        sys.exit(1)


def shares(jobs: int) -> List[List[int]]:
    """Cores of each of `jobs` processes at once: divided among them, or where there are fewer cores, one each."""
    usable = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else list(range(os.cpu_count() or 1))
    return [usable[job::jobs] or [usable[job % len(usable)]] for job in range(jobs)]
