"""A worker process: it makes the games of some environments and plays them, until its parent lets go of it.

It imports neither torch nor the parent's main module, so that it starts in a fraction of a second.
"""

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import traceback
from dataclasses import dataclass
from importlib import import_module
from multiprocessing.connection import Connection
from typing import Any, Dict, List, Optional

from harl_isaac.adapters.workers.game import Game
from harl_isaac.adapters.workers.shared_memory import Board, Layout
from harl_isaac.env import MissingSimulator

STEP = b""  # the message of every step; all others are pickled (name, argument)
CLOSING = 10  # [s] that games may take to close after the parent is gone
LOG_SIZE = 2**20  # [bytes] of a simulator's chatter that are kept
PR_SET_PDEATHSIG = 1  # prctl(2)
CRASHES = (Exception, SystemExit)  # a simulator that leaves the process has crashed


class Orphaned(BaseException):
    """The parent is gone."""


@dataclass
class Job:
    """What a worker is told at its start."""

    game: str  # package.module:Class
    settings: Dict[str, Any]  # of the class
    worker: int
    workers: int
    envs: range
    num_envs: int
    restart: bool  # replace a game that raises


@dataclass
class Failure:
    """What a worker says when a game raised and it cannot go on."""

    kind: str  # name of the exception's class: one for the user, or any other
    message: str
    env: int
    seed: Optional[int]
    doing: str
    trace: str


class Worker:
    """Plays the games of `job.envs`."""

    def __init__(self, job: Job, connection: Connection, file):
        self.job = job
        self.connection = connection
        self.file = file
        self.games = {}  # type: Dict[int, Game]
        self.unproven = set()  # type: set  # environments whose game replaced another and has not done a step yet
        self.board = None  # type: Optional[Board]
        self.env = job.envs[0]
        self.doing = "being made"
        self.orders = {"begin": self.begin_all, "save": self.save, "restore": self.restore}

    def serve(self) -> None:
        """Until the parent closes the connection."""
        try:
            self.make_all()
            while True:
                message = self.connection.recv_bytes()
                if message == STEP:
                    for e in self.job.envs:
                        self.play(e)
                    self.connection.send_bytes(STEP)
                else:
                    name, argument = pickle.loads(message)
                    self.connection.send(self.orders[name](argument))
        except (EOFError, ConnectionError, Orphaned):
            pass
        except CRASHES as error:
            self.report(error)

    def report(self, error: BaseException) -> None:
        kind = next((kind for kind in (MissingSimulator, ValueError) if isinstance(error, kind)), type(error))
        seed = int(self.board.seed[self.env]) if self.board is not None else None
        self.connection.send(Failure(kind.__name__, str(error), self.env, seed, self.doing, traceback.format_exc()))

    def make_all(self) -> None:
        """All games; the parent is told what they are like and lays out the memory."""
        for self.env in self.job.envs:
            self.games[self.env] = self.make()
        self.connection.send([self.games[e].spec for e in self.job.envs])
        self.connection.recv_bytes()  # the memory is laid out
        job = self.job
        self.board = Board(Layout(self.games[job.envs[0]].spec, job.num_envs, job.workers), self.file)
        self.views = {e: self.board.view(e) for e in job.envs}
        self.actions = {e: self.board.actions(e) for e in job.envs}

    def make(self) -> Game:
        module, name = self.job.game.split(":")
        return getattr(import_module(module), name)(**self.job.settings)

    def at(self, e: int, doing: str) -> None:
        self.env = e
        self.doing = doing
        self.board.busy[self.job.worker] = e

    def play(self, e: int) -> None:
        """One step; where the episode ended, the next begins."""
        self.at(e, "in a step")
        try:
            outcome = self.games[e].step(self.actions[e])
            self.games[e].look(self.views[e])
            self.board.write(e, outcome)
        except CRASHES as error:
            self.board.lose(e)
            self.replace(e, error)
            return
        self.unproven.discard(e)
        if outcome.terminated or outcome.truncated:
            self.begin(e)

    def begin(self, e: int) -> None:
        """A new episode."""
        self.at(e, "beginning an episode")
        try:
            self.games[e].reset(self.board.next_seed(e))
            self.games[e].look(self.views[e])
        except CRASHES as error:
            self.board.outcome[e, -1] = 1.0
            self.replace(e, error)
        keep_log_short()

    def replace(self, e: int, error: BaseException) -> None:
        """A new game and episode after an error; where that fails again before a step is done, the error is raised."""
        if not self.job.restart or e in self.unproven:
            raise error
        self.unproven.add(e)
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        close(self.games[e])
        self.games[e] = self.make()
        self.board.blank(e)
        self.begin(e)

    def begin_all(self, unproven: bool) -> None:
        """New episodes everywhere; `unproven`: in the place of a worker that died."""
        self.unproven = set(self.job.envs if unproven else ())
        for e in self.job.envs:
            if unproven:
                self.board.blank(e)
            self.begin(e)

    def save(self, _) -> List[Optional[bytes]]:
        saved = []
        for e in self.job.envs:
            self.at(e, "being saved")
            saved.append(self.games[e].save())
        return saved

    def restore(self, saved: List[bytes]) -> None:
        for e, value in zip(self.job.envs, saved):
            self.at(e, "being restored")
            self.games[e].restore(value)
            self.board.blank(e)
            self.games[e].look(self.views[e])

    def close(self) -> None:
        for game in self.games.values():
            close(game)


def close(game: Game) -> None:
    """Close a game, whatever state it is in."""
    try:
        game.close()
    except CRASHES:
        traceback.print_exc()


def keep_log_short() -> None:
    """Forget a simulator's older output (both streams append to one file)."""
    if os.fstat(2).st_size > LOG_SIZE:
        os.ftruncate(2, 0)


def follow_parent(parent: int) -> None:
    """Signals are the parent's affair, which may want to finish an iteration; the death of the parent is the worker's.

    A parent that is killed closes the connection. A game that is busy for long is interrupted by SIGTERM, which Linux
    sends (and also sends when merely the thread ended that started this process).
    """

    def orphaned(number, frame) -> None:
        if os.getppid() != parent:
            raise Orphaned

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, orphaned)
    if sys.platform.startswith("linux"):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
    orphaned(signal.SIGTERM, None)  # it may have died before


def main(connection: int, file: int, parent: int) -> None:
    """Entry of the process; the numbers are descriptors and the parent's process id."""
    follow_parent(parent)
    faulthandler.enable()  # a crash of a simulator's own code leaves the Python lines that led to it
    for descriptor in (connection, file):
        os.set_inheritable(descriptor, False)  # a simulator's processes must not keep them open
    channel = Connection(connection)
    worker = None
    try:
        worker = Worker(channel.recv(), channel, os.fdopen(file, "r+b"))
        worker.serve()
    except (EOFError, ConnectionError, Orphaned):
        pass
    finally:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.signal(signal.SIGALRM, end_group)
        signal.alarm(CLOSING)
        faulthandler.dump_traceback_later(CLOSING + 1, exit=True)  # where closing hangs outside of Python
        if worker is not None:
            worker.close()
        end_group()


def end_group(number=None, frame=None) -> None:
    """End this process, and with it whatever a game has started and not ended."""
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # the parent made this process the leader of a group of its own
