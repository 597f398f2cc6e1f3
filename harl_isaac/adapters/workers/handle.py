"""The parent's handle of one worker process: starts it, sends requests, receives answers, describes its death.

The other end of the connection is child.py, which runs in the worker process.
"""

import json
import os
import pickle
import select
import signal
import socket
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import IO, Any, Callable, Optional

from harl_isaac.adapters.workers.messages import LOST, SHOWN, STEP, Failure, Job
from harl_isaac.env import MissingSimulator, SimulatorError

# The module search path is an argument: in the environment, a simulator's own processes would inherit it.
START = (
    "import json, sys; path, *numbers = sys.argv[1:]; sys.argv[1:] = []; sys.path[:] = json.loads(path); "
    "from harl_isaac.adapters.workers.child import main; main(*map(int, numbers))"
)
# because there is a process for each core
ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
SAME_SETS = {"PYTHONHASHSEED": "0"}  # else a game that goes over a set of words plays differently in each process
GRACE = 10.0  # [s] that a worker has to close its games
POLL_INTERVAL = 1000.0  # [ms] between checks whether a process that does not answer is still there
# shown as they are, if no game was made
USER_ERRORS = {"MissingSimulator": MissingSimulator, "ValueError": ValueError, "GameFault": ValueError}


class WorkerDied(Exception):
    """A worker cannot go on; the message says what is known of the cause."""


class WorkerProcess:
    """A started worker process; `file` is the memory that it will share.

    untested: it replaced another worker and has not done a step yet.
    """

    def __init__(self, job: Job, file: IO[bytes], untested: bool = False):
        self.job = job
        self.untested = untested
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours.detach())
        self.log = open_log()
        self.process = start_process(theirs.fileno(), file.fileno(), self.log)
        theirs.close()
        self.poller = select.poll()
        self.poller.register(self.connection.fileno(), select.POLLIN)
        self._attempt(lambda: self.connection.send(job))

    def send(self, request: str, argument: Any = None) -> None:
        """Send a request without waiting for the answer. Raises WorkerDied."""
        self._attempt(lambda: self.connection.send((request, argument)))

    def step(self) -> None:
        """Request a step of all its environments. Raises WorkerDied."""
        self._attempt(lambda: self.connection.send_bytes(STEP))

    def receive(self, timeout: float = 0.0) -> Any:
        """Wait for the answer to the last request, at most `timeout` [s] if that is not 0.

        Raises WorkerDied, or what a game raised, see `unwrap`.
        """
        self._wait(timeout)
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise WorkerDied(self.describe_death()) from None
        if message == STEP:
            self.untested = False
            return None
        return unwrap(pickle.loads(message))

    def describe_death(self, cause: str = "") -> str:
        """Say how the process ended (`cause`, where that is known), which environments it played, its last output."""
        code: Optional[int] = None
        with suppress(subprocess.TimeoutExpired):
            code = self.process.wait(GRACE)
        envs = self.job.envs
        output = self.log_tail()
        if not cause:
            cause = "lost its connection: did a game close it?" if LOST in output else describe_exit(code)
        return f"worker process {self.process.pid} (environments {envs[0]} to {envs[-1]}) {cause}{output}"

    def log_tail(self) -> str:
        """Last of the process's output with an introduction, or ''."""
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - SHOWN))
        text = self.log.read().decode(errors="replace").strip()
        return "; its last output:\n" + text if text else ""

    def close_connection(self) -> None:
        """Close the connection: the worker then closes its games and ends."""
        self.connection.close()

    def end(self, deadline: float) -> None:
        """Wait for its end until time.monotonic() is `deadline`, then kill it, with all that its games have started."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(max(deadline - time.monotonic(), 0.0))
        with suppress(ProcessLookupError, PermissionError):  # nobody is left of its group
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self.log.close()

    def _attempt(self, send: Callable[[], None]) -> None:
        try:
            send()
        except OSError:
            raise WorkerDied(self.describe_death()) from None

    def _wait(self, timeout: float) -> None:
        """Return once there is an answer. Raises WorkerDied where none will come."""
        begin = time.monotonic()
        interval = min(POLL_INTERVAL, 1000.0 * timeout) if timeout else POLL_INTERVAL
        while not self.poller.poll(interval):
            if self.process.poll() is not None and not self.poller.poll(0):
                raise WorkerDied(self.describe_death())
            if timeout and time.monotonic() - begin > timeout:
                os.killpg(self.process.pid, signal.SIGKILL)
                cause = "was therefore ended (SIGKILL); a larger task.timeout gives it more time"
                raise WorkerDied(f"no answer in task.timeout={timeout:g} s: {self.describe_death(cause)}")


def open_log() -> IO[bytes]:
    """Open a nameless file for a worker's output, which must not disturb the training's progress on the terminal."""
    return tempfile.TemporaryFile("a+b")


def start_process(connection: int, file: int, log: IO[bytes]) -> "subprocess.Popen[bytes]":
    """Start a worker process; it inherits the descriptors `connection` and `file` and writes its output to `log`."""
    path = json.dumps([entry for entry in sys.path if isinstance(entry, str)])
    return subprocess.Popen(
        [sys.executable, "-c", START, path, str(connection), str(file), str(os.getpid())],
        pass_fds=(connection, file),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=log,
        env={**SAME_SETS, **os.environ, **ONE_THREAD},
        start_new_session=True,  # out of reach of Ctrl-C
    )


def describe_exit(code: Optional[int]) -> str:
    """Say how a process ended from its exit code: minus a signal's number, or None where it has not ended."""
    if code is None:
        return "does not answer any more"
    if code >= 0:
        return f"ended by itself with exit code {code}"
    hint = " (is there enough memory?)" if -code == signal.SIGKILL else ""
    return f"was ended by signal {-code}, {signal.Signals(-code).name}{hint}"


def unwrap(answer: Any) -> Any:
    """Return a worker's answer.

    Raises what a game raised: MissingSimulator or ValueError if that kept it from being made, else SimulatorError.
    """
    if not isinstance(answer, Failure):
        return answer
    episode = "" if answer.seed is None else f", in the episode of seed {answer.seed}"
    trace = answer.trace.strip()
    gap = "\n" if "\n" in trace else " "
    error = SimulatorError(f"environment {answer.env} failed {answer.doing}{episode}:{gap}{trace}")
    if answer.seed is None and answer.kind in USER_ERRORS:
        raise USER_ERRORS[answer.kind](answer.message) from error
    raise error
