"""Messages between the parent (handle.py) and a worker process (child.py), over a socket.

Parent to worker: a `Job` at the start, then requests: STEP for a step of all environments, or pickled (name, argument).
Worker to parent: the games' specs, after which one message of any kind says that the shared memory is laid out; then an
answer to each request: STEP, or a pickled value. A `Failure` in place of an answer is the worker's last message.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional

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
    trace: str  # the traceback
