"""Messages between the parent (handle.py) and a worker process (child.py), over a socket.

Parent to worker: a `Job` at the start, then requests: STEP for a step of all environments, or pickled (name, argument).
Worker to parent: the games' specs, after which one message of any kind says that the shared memory is laid out; then an
answer to each request: STEP, or a pickled value. A `Failure` in place of an answer is the worker's last message.
"""

import os
import re
from dataclasses import dataclass
from typing import Any, Dict, List, Optional

SHOWN = 3000  # [characters] of a game's own words that are shown
LOST = "harl_isaac: the connection to the training process was lost"  # a worker's last words then
STEP = b""  # both the request for a step and its answer; all other messages are pickled


@dataclass
class Job:
    """Description of a worker's environments, sent to it at its start."""

    game: str  # package.module:Class
    settings: Dict[str, Any]  # arguments of the class
    worker: int  # index of this worker
    workers: int  # number of workers
    envs: range  # indices of the environments that this worker plays
    num_envs: int  # E, of all workers
    restart: bool  # replace a game that raises


@dataclass
class Failure:
    """Answer of a worker whose game raised and that cannot continue."""

    kind: str  # name of the exception's class; MissingSimulator or ValueError also for their subclasses
    message: str
    env: int  # index of the environment
    seed: Optional[int]  # of its episode; None before the first one
    doing: str  # such as "in a step"
    trace: str  # the traceback, or the message alone where that says it all


@dataclass
class Saved:
    """A worker's answer to a request for the state of one environment."""

    game: Optional[bytes]  # None where it cannot be saved
    generators: bytes  # of the process-wide random numbers, see generators.py


def usable_cores() -> int:
    """Number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split_jobs(game: str, settings: Dict[str, Any], num_envs: int, workers: int, restart: bool) -> List[Job]:
    """Jobs of all workers: blocks of environments whose sizes differ by one at most."""
    jobs = []
    for w in range(workers):
        envs = range(num_envs * w // workers, num_envs * (w + 1) // workers)
        jobs.append(Job(game, settings, w, workers, envs, num_envs, restart))
    return jobs


def restored_text(failures: Dict[int, str], games: int) -> str:
    """Say how many of the restored games differ, and the first of the reasons, which are by environment."""
    e, reason = next(iter(failures.items()))
    return (
        f"{len(failures)} of {games} games did not go on as they were saved (environment {e}: {reason}): new episodes "
        "begin in all of them"
    )


def shortened(text: str, limit: int = SHOWN) -> str:
    """A text without its middle part if it is longer than `limit` characters."""
    if len(text) <= limit:
        return text
    half = limit // 2
    return f"{text[:half]} ... [{len(text) - 2 * half} characters left out] ... {text[-half:]}"


def words_of(error: BaseException) -> str:
    """An exception's message."""
    try:
        return shortened(str(error))
    except Exception:  # a class of the game's own
        return "no message"


def one_line(error: BaseException) -> str:
    """An exception's class and message in one line."""
    return shortened(re.sub(r"\s+", " ", f"{type(error).__name__}: {words_of(error)}"), 300)
