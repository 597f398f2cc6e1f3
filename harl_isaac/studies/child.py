"""A training in a process of its own: how it is started, its share of the cores, its end, its error."""

import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import List

PR_SET_PDEATHSIG = 1  # prctl(2)
LOG_TAIL = 20_000  # [bytes] of a log that are searched for the error
# The module search path is an argument, so that a clone's study trains with that clone.
START = (
    "import json, sys; path, cores, parent, *words = sys.argv[1:]; sys.path[:] = json.loads(path); "
    "from harl_isaac.studies.child import prepare; prepare(json.loads(cores), int(parent)); "
    "sys.argv[:] = ['harl-train', *words]; from harl_isaac.cli.entry import train; train()"
)


def training(words: List[str], cores: List[int]) -> List[str]:
    """The command that trains with these words on these cores, all if there are none, and ends with this process."""
    return [sys.executable, "-c", START, json.dumps(sys.path), json.dumps(cores), str(os.getpid()), *words]


def prepare(cores: List[int], parent: int) -> None:
    """Keep to these cores, and stop with a checkpoint when the process `parent` ends, in whatever way.

    torch, MuJoCo and the workers of a simulator start as many threads and processes as the process has cores.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)  # the process before may ignore it
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


def error_in(log: Path, code: int) -> str:
    """The line of a training's output that says why it ended."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - LOG_TAIL))
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    said = [line for line in lines if line.startswith("harl-train: ")]
    if code > 0 and (said or lines):
        return said[-1][len("harl-train: ") :] if said else lines[-1]
    reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"ended by {reason}; its log: {log}"
