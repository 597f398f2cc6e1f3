"""`Worker`: plays the games of some environments for the parent, in a process that child.py starts.

Whatever a game raises is the game's: not even a KeyboardInterrupt or a ConnectionError is taken for the parent's.
"""

import math
import os
import pickle
import sys
import traceback
from contextlib import suppress
from importlib import import_module
from multiprocessing.connection import Connection
from typing import IO, Any, Callable, Dict, List, Set

import numpy as np

from harl_isaac.adapters.workers.game import Game, GameFault, check_outcome, check_spec, check_view, picture_of
from harl_isaac.adapters.workers.generators import Generators
from harl_isaac.adapters.workers.messages import STEP, Failure, Job, Saved, one_line, shortened, words_of
from harl_isaac.adapters.workers.shared_memory import Draft, Layout, SharedBuffers
from harl_isaac.env import MissingSimulator

LOG_SIZE = 2**20  # [bytes] of a simulator's output that are kept
REPORTED = (MissingSimulator, GameFault, ValueError)  # kinds of errors that the parent tells apart


class Orphaned(BaseException):
    """The parent process, or the connection to it, is gone."""


class Channel:
    """The connection to the parent. Every method raises Orphaned where it is closed."""

    def __init__(self, connection: Connection):
        self.connection = connection

    def receive(self) -> bytes:
        """Wait for a message."""
        try:
            return self.connection.recv_bytes()
        except (EOFError, OSError):
            raise Orphaned from None

    def send(self, message: bytes) -> None:
        """Send a message."""
        try:
            self.connection.send_bytes(message)
        except OSError:
            raise Orphaned from None

    def answer(self, value: Any) -> None:
        """Send a pickled value."""
        self.send(pickle.dumps(value))


class Worker:
    """Plays the games of the environments `job.envs`."""

    buffers: SharedBuffers  # mapped once all games are made, see `attached`

    def __init__(self, job: Job, channel: Channel, file: IO[bytes]):
        self.job = job
        self.channel = channel
        self.file = file
        self.pid = os.getpid()
        self.generators = Generators(job.envs)
        self.games: Dict[int, Game] = {}  # environment -> its game
        self.untested: Set[int] = set()  # environments whose game replaced another and has not done a step yet
        self.attached = False  # whether `buffers` is mapped
        self.drafts: Dict[int, Draft] = {}  # environment -> what its game writes
        self.actions: Dict[int, List[np.ndarray]] = {}  # environment -> A x [action_width_i]
        self.env = job.envs[0]  # environment that is being played, and what it is doing
        self.doing = "being made"
        self.requests: Dict[str, Callable[[Any], Any]] = {
            "reset": self.reset_all,
            "save": self.save,
            "restore": self.restore,
            "draw": self.draw,
        }

    def serve(self) -> None:
        """Make the games, then answer requests until a game fails. Raises Orphaned when the parent closes."""
        try:
            self.make_games()
            self.attach_buffers()
            while True:
                self.answer(self.channel.receive())
        except Orphaned:
            raise
        except BaseException as error:
            self.report(error)

    def answer(self, message: bytes) -> None:
        """Do what one message of the parent asks for, and answer it."""
        if message == STEP:
            for e in self.job.envs:
                self.play(e)
            self.channel.send(STEP)
        else:
            request, argument = pickle.loads(message)
            self.channel.answer(self.requests[request](argument))

    def report(self, error: BaseException) -> None:
        """Answer with a Failure."""
        kind = next((kind for kind in REPORTED if isinstance(error, kind)), type(error))
        message = words_of(error) if kind in REPORTED else one_line(error)
        trace = message if kind is GameFault else shortened(traceback.format_exc())
        seed = int(self.buffers.seed[self.env]) if self.attached else None
        self.channel.answer(Failure(kind.__name__, message, self.env, seed, self.doing, trace))

    def ask(self, e: int, method: Callable[..., Any], *arguments: Any) -> Any:
        """Call a method of environment e's game, with its own generators.

        Does not return in a process that the game has forked and let go on here: there is one worker.
        """
        self.generators.enter(e)
        try:
            return method(*arguments)
        finally:
            if os.getpid() != self.pid:
                os._exit(1)

    def make_games(self) -> None:
        """Make all games and send their specs, from which the parent lays out the shared memory."""
        for e in self.job.envs:
            self.env = e
            self.games[e] = self.make_game(e)
        self.channel.answer([self.games[e].spec for e in self.job.envs])

    def make_game(self, e: int) -> Game:
        """Make one game from the job's class and settings."""
        self.generators.seed(e, e)
        game: Game = self.ask(e, self.new_game)
        check_spec(game.spec)
        return game

    def new_game(self) -> Game:
        """Import the job's class and call it."""
        module, name = self.job.game.split(":")
        game: Game = getattr(import_module(module), name)(**self.job.settings)
        return game

    def attach_buffers(self) -> None:
        """Map the shared memory once the parent has laid it out."""
        self.channel.receive()
        job = self.job
        layout = Layout(self.games[job.envs[0]].spec, job.num_envs, job.workers)
        self.buffers = SharedBuffers(layout, self.file)
        self.attached = True
        self.drafts = {e: Draft(layout) for e in job.envs}
        self.actions = {e: self.buffers.actions(e) for e in job.envs}

    def mark_active(self, e: int, doing: str) -> None:
        """Note which environment is played: here for a Failure, in shared memory in case this process dies."""
        self.env = e
        self.doing = doing
        self.buffers.active_env[self.job.worker] = e

    def play(self, e: int) -> None:
        """Do one step of environment e; where the episode ended, begin the next."""
        self.mark_active(e, "in a step")
        game = self.games[e]
        try:
            outcome = self.ask(e, game.step, self.actions[e])
            check_outcome(outcome, game.spec)
            self.look(e)
            self.buffers.write_outcome(e, outcome)
        except Orphaned:
            raise
        except BaseException as error:
            self.buffers.mark_episode_lost(e)
            self.replace(e, error)
            return
        self.untested.discard(e)
        if outcome.terminated or outcome.truncated:
            self.reset(e)

    def look(self, e: int) -> None:
        """Let the game of environment e write its view, which enters the shared memory if it is finite."""
        draft = self.drafts[e]
        game = self.games[e]
        self.ask(e, game.look, draft.view)
        if not math.isfinite(draft.row.dot(draft.row)):  # nor is it where finite numbers are very large
            check_view(draft.view, game.spec.agents)
        self.buffers.write_view(e, draft.row, draft.flags)

    def reset(self, e: int) -> None:
        """Begin a new episode of environment e."""
        self.mark_active(e, "beginning an episode")
        seed = self.buffers.next_seed(e)
        try:
            self.generators.seed(e, seed)
            self.ask(e, self.games[e].reset, seed)
            self.look(e)
        except Orphaned:
            raise
        except BaseException as error:
            self.buffers.mark_restarted(e)
            self.replace(e, error)
        shorten_log()

    def replace(self, e: int, error: BaseException) -> None:
        """Make a new game and episode after an error. Raises `error` where that fails again before a step is done."""
        if not self.job.restart or e in self.untested:
            raise error
        self.untested.add(e)
        self.renew(e)
        self.reset(e)

    def renew(self, e: int) -> None:
        """Put a new game in the place of one that has just raised."""
        log_error()
        self.close_game(e)
        self.games[e] = self.make_game(e)
        self.clear(e)

    def clear(self, e: int) -> None:
        """Zero what the game of environment e has written."""
        self.drafts[e].clear()
        self.buffers.clear_row(e)

    def reset_all(self, untested: bool) -> None:
        """Begin new episodes in all environments; `untested`: this worker replaces one that died."""
        self.untested = set(self.job.envs) if untested else set()
        for e in self.job.envs:
            if untested:
                self.clear(e)
            self.reset(e)

    def save(self, _: None) -> List[Saved]:
        """Save the games of all environments, in their order."""
        saved = []
        for e in self.job.envs:
            self.mark_active(e, "being saved")
            game = self.ask(e, self.games[e].save)
            if game is not None and not isinstance(game, bytes):
                raise GameFault(f"save: expected bytes or None, got {type(game).__name__}")
            saved.append(Saved(game, self.generators.save(e)))
        return saved

    def restore(self, saved: List[Saved]) -> List[str]:
        """Restore all games from what `save` returned; returns for each what it raised, '' for nothing."""
        failures = []
        for e, value in zip(self.job.envs, saved):
            self.mark_active(e, "being restored")
            try:
                self.restore_game(e, value)
                failures.append("")
            except Orphaned:
                raise
            except BaseException as error:
                failures.append(one_line(error))
                self.renew(e)
        return failures

    def restore_game(self, e: int, saved: Saved) -> None:
        """Restore one game, which plays the episode of environment e's seed again or reads its state."""
        self.generators.seed(e, int(self.buffers.seed[e]))
        self.ask(e, self.games[e].restore, saved.game)
        self.clear(e)
        self.look(e)
        self.generators.restore(e, saved.generators)

    def draw(self, _: None) -> Any:
        """The picture of the first environment, or a text about why there is none."""
        e = self.job.envs[0]
        self.mark_active(e, "being drawn")
        return self.ask(e, picture_of, self.games[e])

    def close(self) -> None:
        """Close all games."""
        for e in self.games:
            self.close_game(e)

    def close_game(self, e: int) -> None:
        """Close the game of environment e, whatever state it is in."""
        try:
            self.ask(e, self.games[e].close)
        except Orphaned:
            raise
        except BaseException:
            log_error()


def log_error() -> None:
    """Write the traceback of the error that is being handled to the log."""
    with suppress(Exception):  # a game has closed it
        print(shortened(traceback.format_exc()), file=sys.stderr, flush=True)


def shorten_log() -> None:
    """Drop a simulator's older output (both streams append to one file)."""
    with suppress(OSError):  # a game has put something else in its place
        if os.fstat(2).st_size > LOG_SIZE:
            os.ftruncate(2, 0)
