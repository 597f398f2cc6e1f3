"""The worker process: makes the games of some environments and plays them until its parent closes the connection.

`main` is its entry point; the parent (handle.py) starts it and talks to it by the messages of messages.py. It imports
neither torch nor the parent's main module, so that it starts in a fraction of a second.
"""

import ctypes
import faulthandler
import os
import pickle
import signal
import sys
import traceback
from importlib import import_module
from multiprocessing.connection import Connection
from types import FrameType
from typing import IO, Any, Callable, Dict, List, Optional, Set

import numpy as np

from harl_isaac.adapters.workers.game import Game, GameView
from harl_isaac.adapters.workers.messages import STEP, Failure, Job
from harl_isaac.adapters.workers.shared_memory import Layout, SharedBuffers
from harl_isaac.env import MissingSimulator

CLOSING = 10  # [s] that games may take to close after the parent is gone
LOG_SIZE = 2**20  # [bytes] of a simulator's output that are kept
PR_SET_PDEATHSIG = 1  # prctl(2)
CRASHES = (Exception, SystemExit)  # a simulator that leaves the process has crashed


class Orphaned(BaseException):
    """The parent process has died."""


class Worker:
    """Plays the games of the environments `job.envs`."""

    buffers: SharedBuffers  # mapped once all games are made, see `attached`

    def __init__(self, job: Job, connection: Connection, file: IO[bytes]):
        self.job = job
        self.connection = connection
        self.file = file
        self.games: Dict[int, Game] = {}  # environment -> its game
        self.untested: Set[int] = set()  # environments whose game replaced another and has not done a step yet
        self.attached = False  # whether `buffers` is mapped
        self.views: Dict[int, GameView] = {}  # environment -> its arrays of `buffers`
        self.actions: Dict[int, List[np.ndarray]] = {}  # environment -> A x [action_width_i]
        self.env = job.envs[0]  # environment that is being played, and what it is doing
        self.doing = "being made"
        self.requests: Dict[str, Callable[[Any], Any]] = {
            "reset": self.reset_all,
            "save": self.save,
            "restore": self.restore,
        }

    def serve(self) -> None:
        """Make the games, then answer requests until the parent closes the connection or a game fails."""
        try:
            self.make_games()
            self.attach_buffers()
            while True:
                self.answer(self.connection.recv_bytes())
        except (EOFError, ConnectionError, Orphaned):
            pass
        except CRASHES as error:
            self.report(error)

    def answer(self, message: bytes) -> None:
        """Do what one message of the parent asks for, and answer it."""
        if message == STEP:
            for e in self.job.envs:
                self.play(e)
            self.connection.send_bytes(STEP)
        else:
            request, argument = pickle.loads(message)
            self.connection.send(self.requests[request](argument))

    def report(self, error: BaseException) -> None:
        """Answer with a Failure."""
        kind = next((kind for kind in (MissingSimulator, ValueError) if isinstance(error, kind)), type(error))
        seed = int(self.buffers.seed[self.env]) if self.attached else None
        self.connection.send(Failure(kind.__name__, str(error), self.env, seed, self.doing, traceback.format_exc()))

    def make_games(self) -> None:
        """Make all games and send their specs, from which the parent lays out the shared memory."""
        for e in self.job.envs:
            self.env = e
            self.games[e] = self.make_game()
        self.connection.send([self.games[e].spec for e in self.job.envs])

    def make_game(self) -> Game:
        """Make one game from the job's class and settings."""
        module, name = self.job.game.split(":")
        return getattr(import_module(module), name)(**self.job.settings)

    def attach_buffers(self) -> None:
        """Map the shared memory once the parent has laid it out."""
        self.connection.recv_bytes()
        job = self.job
        spec = self.games[job.envs[0]].spec
        self.buffers = SharedBuffers(Layout(spec, job.num_envs, job.workers), self.file)
        self.attached = True
        self.views = {e: self.buffers.game_view(e) for e in job.envs}
        self.actions = {e: self.buffers.actions(e) for e in job.envs}

    def mark_active(self, e: int, doing: str) -> None:
        """Note which environment is played: here for a Failure, in shared memory in case this process dies."""
        self.env = e
        self.doing = doing
        self.buffers.active_env[self.job.worker] = e

    def play(self, e: int) -> None:
        """Do one step of environment e; where the episode ended, begin the next."""
        self.mark_active(e, "in a step")
        try:
            outcome = self.games[e].step(self.actions[e])
            self.games[e].look(self.views[e])
            self.buffers.write_outcome(e, outcome)
        except CRASHES as error:
            self.buffers.mark_episode_lost(e)
            self.replace(e, error)
            return
        self.untested.discard(e)
        if outcome.terminated or outcome.truncated:
            self.reset(e)

    def reset(self, e: int) -> None:
        """Begin a new episode of environment e."""
        self.mark_active(e, "beginning an episode")
        try:
            self.games[e].reset(self.buffers.next_seed(e))
            self.games[e].look(self.views[e])
        except CRASHES as error:
            self.buffers.mark_restarted(e)
            self.replace(e, error)
        shorten_log()

    def replace(self, e: int, error: BaseException) -> None:
        """Make a new game and episode after an error. Raises `error` where that fails again before a step is done."""
        if not self.job.restart or e in self.untested:
            raise error
        self.untested.add(e)
        print(traceback.format_exc(), file=sys.stderr, flush=True)
        close_game(self.games[e])
        self.games[e] = self.make_game()
        self.buffers.clear_row(e)
        self.reset(e)

    def reset_all(self, untested: bool) -> None:
        """Begin new episodes in all environments; `untested`: this worker replaces one that died."""
        self.untested = set(self.job.envs) if untested else set()
        for e in self.job.envs:
            if untested:
                self.buffers.clear_row(e)
            self.reset(e)

    def save(self, _: None) -> List[Optional[bytes]]:
        """Save the games of all environments, in their order."""
        saved = []
        for e in self.job.envs:
            self.mark_active(e, "being saved")
            saved.append(self.games[e].save())
        return saved

    def restore(self, saved: List[bytes]) -> None:
        """Restore the games of all environments from what `save` returned."""
        for e, value in zip(self.job.envs, saved):
            self.mark_active(e, "being restored")
            self.games[e].restore(value)
            self.buffers.clear_row(e)
            self.games[e].look(self.views[e])

    def close(self) -> None:
        """Close all games."""
        for game in self.games.values():
            close_game(game)


def close_game(game: Game) -> None:
    """Close a game, whatever state it is in."""
    try:
        game.close()
    except CRASHES:
        traceback.print_exc()


def shorten_log() -> None:
    """Drop a simulator's older output (both streams append to one file)."""
    if os.fstat(2).st_size > LOG_SIZE:
        os.ftruncate(2, 0)


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


def end_group(number: Optional[int] = None, frame: Optional[FrameType] = None) -> None:
    """End this process, and with it whatever a game has started and not ended. Also the handler of SIGALRM."""
    sys.stdout.flush()
    os.killpg(0, signal.SIGKILL)  # the parent made this process the leader of a group of its own
