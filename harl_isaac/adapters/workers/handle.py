"""The parent's side of one worker process: start, orders, answers, and what is known of its death."""

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
from multiprocessing.connection import Connection
from typing import Any

from harl_isaac.adapters.workers.child import STEP, Failure, Job
from harl_isaac.env import MissingSimulator, SimulatorError

# The module search path comes as an argument: it need not be in the environment, where a simulator's processes would see it.
START = (
    "import json, sys; path, *numbers = sys.argv[1:]; sys.argv[1:] = []; sys.path[:] = json.loads(path); "
    "from harl_isaac.adapters.workers.child import main; main(*map(int, numbers))"
)
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)  # a process for each core
GRACE = 10.0  # [s] to close its games
LOOK = 1000  # [ms] between looks at whether a process that does not answer is still there
LOG_TAIL = 3000  # last characters of its output that are shown
FOR_THE_USER = {"MissingSimulator": MissingSimulator, "ValueError": ValueError}  # where a game cannot be made


class Died(Exception):
    """A worker cannot go on; the message says what is known of the cause."""


class WorkerProcess:
    """A worker that was started; `file` is the memory that it will share.

    `unproven`: it replaced another and has not done a step yet.
    """

    def __init__(self, job: Job, file, unproven: bool = False):
        self.job = job
        self.unproven = unproven
        ours, theirs = socket.socketpair()
        self.connection = Connection(ours.detach())
        self.log = tempfile.TemporaryFile("a+b")  # not the terminal, which shows the training's progress
        arguments = [
            json.dumps([path for path in sys.path if isinstance(path, str)]),
            str(theirs.fileno()),
            str(file.fileno()),
            str(os.getpid()),
        ]
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *arguments],
            pass_fds=(theirs.fileno(), file.fileno()),
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            env={**os.environ, **ONE_THREAD},
            start_new_session=True,
        )  # out of reach of Ctrl-C
        theirs.close()
        self.poller = select.poll()
        self.poller.register(self.connection.fileno(), select.POLLIN)
        self._send(lambda: self.connection.send(job))

    def order(self, name: str, argument: Any = None) -> None:
        """Give an order without waiting for the answer. Raises Died."""
        self._send(lambda: self.connection.send((name, argument)))

    def step(self) -> None:
        """Let all its environments do a step."""
        self._send(lambda: self.connection.send_bytes(STEP))

    def answer(self, timeout: float = 0.0) -> Any:
        """Wait for the answer to the last order, at most `timeout` seconds if that is not 0.

        Raises Died, or what a game raised, see `value_of`.
        """
        self._wait(timeout)
        try:
            message = self.connection.recv_bytes()
        except (EOFError, OSError):
            raise Died(self.death()) from None
        if message == STEP:
            self.unproven = False
            return None
        return value_of(pickle.loads(message))

    def death(self) -> str:
        """How the process ended, where it was last, and the last of its output."""
        try:
            code = self.process.wait(GRACE)
        except subprocess.TimeoutExpired:
            code = None
        text = f"worker process {self.process.pid} (environments {self.job.envs[0]} to {self.job.envs[-1]}) "
        if code is None:
            text += "does not answer any more"
        elif code < 0:
            text += f"was ended by signal {-code}, {signal.Signals(-code).name}{ {signal.SIGKILL: ' (is there enough memory?)'}.get(-code, '') }"
        else:
            text += f"ended by itself with exit code {code}"
        return text + self.tail()

    def tail(self) -> str:
        """The last of its output, introduced, or nothing."""
        self.log.seek(0, os.SEEK_END)
        self.log.seek(max(0, self.log.tell() - LOG_TAIL))
        text = self.log.read().decode(errors="replace").strip()
        return "; its last output:\n" + text if text else ""

    def let_go(self) -> None:
        """Close the connection: the worker closes its games and ends."""
        self.connection.close()

    def end(self, deadline: float) -> None:
        """Wait for its end until time.monotonic() is `deadline`, then kill it, with all that its games have started."""
        try:
            self.process.wait(max(deadline - time.monotonic(), 0.0))
        except subprocess.TimeoutExpired:
            pass
        try:
            os.killpg(self.process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):  # nobody is left of its group
            pass
        self.process.wait()
        self.log.close()

    def _send(self, send) -> None:
        try:
            send()
        except OSError:
            raise Died(self.death()) from None

    def _wait(self, timeout: float) -> None:
        """Until there is an answer or a reason why none will come."""
        begin = time.monotonic()
        while not self.poller.poll(LOOK if not timeout else min(LOOK, 1000.0 * timeout)):
            if self.process.poll() is not None and not self.poller.poll(0):
                raise Died(self.death())
            if timeout and time.monotonic() - begin > timeout:
                os.killpg(self.process.pid, signal.SIGKILL)
                raise Died(f"no answer in task.timeout={timeout:g} s: {self.death()}")


def value_of(value: Any) -> Any:
    """An answer as it is. Raises what a game raised: for the user where it could not be made, else SimulatorError."""
    if not isinstance(value, Failure):
        return value
    account = SimulatorError(
        f"environment {value.env} failed {value.doing}{('' if value.seed is None else f', in the episode of seed {value.seed}')}:\n{value.trace.strip()}"
    )
    if value.seed is None and value.kind in FOR_THE_USER:
        raise FOR_THE_USER[value.kind](value.message) from account
    raise account
