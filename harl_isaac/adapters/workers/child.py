"""The worker process: follows its parent, runs a `Worker`, and ends with everything that its games have started.

`main` is its entry point; the parent (handle.py) starts it and talks to it by the messages of messages.py. It imports
neither torch nor the parent's main module, so that it starts in a fraction of a second.
"""

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from types import FrameType
from typing import Optional

from harl_isaac.adapters.workers.messages import LOST
from harl_isaac.adapters.workers.worker import Channel, Orphaned, Worker

CLOSING = 10  # [s] that games may take to close after the parent is gone
PR_SET_PDEATHSIG = 1  # prctl(2)


def follow_parent(parent: int) -> None:
    """Ignore signals, which the parent handles, and raise Orphaned here when the parent process dies.

    A parent that is killed closes the connection. A game in a long step is interrupted by SIGTERM, which Linux sends
    (also when merely the thread ended that started this process).
    """

    def on_sigterm(number: int, frame: Optional[FrameType]) -> None:
        if os.getppid() != parent:
            raise Orphaned

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, on_sigterm)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    on_sigterm(signal.SIGTERM, None)  # it may have died before


def main(connection: int, file: int, parent: int) -> None:
    """Run a worker; the arguments are two file descriptors and the parent's process id."""
    follow_parent(parent)
    faulthandler.enable()  # a crash of a simulator's own code leaves the Python lines that led to it
    for descriptor in (connection, file):
        os.set_inheritable(descriptor, False)  # a simulator's processes must not keep them open
    channel = Channel(Connection(connection))
    worker = None
    try:
        worker = Worker(pickle.loads(channel.receive()), channel, os.fdopen(file, "r+b"))
        worker.serve()
    except Orphaned:
        with suppress(Exception):  # read by nobody, unless it was a game that closed the connection
            print(LOST, file=sys.stderr, flush=True)
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, end_group)
        signal.alarm(CLOSING)
        faulthandler.dump_traceback_later(CLOSING + 1, exit=True)  # where closing hangs outside of Python
        with suppress(Orphaned):
            if worker is not None:
                worker.close()
        end_group()


def end_group(number: Optional[int] = None, frame: Optional[FrameType] = None) -> None:
    """End this process, and with it whatever a game has started and not ended. Also the handler of SIGALRM."""
    with suppress(Exception):  # a game may have closed it
        sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # the parent made this process the leader of a group of its own
