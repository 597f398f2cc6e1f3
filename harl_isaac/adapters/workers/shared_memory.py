"""Memory that the parent (env.py) and its worker processes (child.py) share: actions, observations, outcomes, seeds.

It has no name in any file system: it is freed with the last process that holds it, however that process ends.
"""

import mmap
import os
import tempfile
from typing import IO, Any, Dict, List, NamedTuple, Sequence, Tuple

import numpy as np

from harl_isaac.adapters.workers.game import GameSpec, GameView, Outcome
from harl_isaac.env import Box, action_width, mask_width

ALIGNMENT = 64  # [bytes] a cache line, and a multiple of every item's size
RESULTS = (
    "views",
    "next_views",
    "outcomes",
    "flags",
)  # read by the parent after a step; first in memory, in this order
END_FLAGS = 2  # first columns of flags: terminated, truncated
MULTIPLIER = 1_103_515_245  # odd, so that multiplying by it modulo a power of two maps no two numbers to one
SEEDS = 2**31


def shared_file() -> IO[bytes]:
    """Open a file without a name, for memory that is inherited by its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("harl_isaac"), "w+b")
    return tempfile.TemporaryFile()


def column_slices(widths: Sequence[int], first: int = 0) -> List[slice]:
    """Columns of adjacent parts of these widths in one row; the first part begins at column `first`."""
    edges = first + np.cumsum([0, *widths])
    return [slice(int(begin), int(end)) for begin, end in zip(edges, edges[1:])]


class ArrayPlacement(NamedTuple):
    """Location and type of an array in the shared memory."""

    offset: int  # [bytes]
    dtype: Any
    shape: Tuple[int, ...]


class Layout:
    """Placement of every array in the shared memory and of every agent's part in its rows; equal in every process."""

    def __init__(self, spec: GameSpec, num_envs: int, num_workers: int):
        boxes = [isinstance(space, Box) for space in spec.actions]
        widths = [action_width(space) for space in spec.actions]
        self.spec = spec
        self.num_envs = num_envs
        # in a row of views: the agents' observations, then the state
        self.obs_columns = column_slices(spec.obs_sizes)
        state_begin = self.obs_columns[-1].stop
        self.state_columns = slice(state_begin, state_begin + spec.state_agents * spec.state_size)
        # in a row of flags: ends, action masks, alive
        self.mask_columns = column_slices([mask_width(space) for space in spec.actions], END_FLAGS)
        alive_begin = self.mask_columns[-1].stop if spec.has_action_mask else END_FLAGS
        self.alive_columns = slice(alive_begin, alive_begin + (len(spec.agents) if spec.has_alive else 0))
        # in a row of real_actions, and of int_actions
        self.real_columns = column_slices([width if box else 0 for box, width in zip(boxes, widths)])
        self.int_columns = column_slices([0 if box else width for box, width in zip(boxes, widths)])
        self.placements: Dict[str, ArrayPlacement] = {}
        self.size = 0  # [bytes]
        self.results_size = 0  # [bytes] of the arrays in RESULTS
        self._place_arrays(num_workers)

    def _place_arrays(self, num_workers: int) -> None:
        """Place the arrays of `SharedBuffers` one after the other, those in RESULTS first."""
        envs = self.num_envs
        self._place("views", np.float32, (envs, self.state_columns.stop))
        self._place("next_views", np.float32, (envs, self.state_columns.stop))
        self._place("outcomes", np.float32, (envs, self.spec.reward_agents + len(self.spec.metrics) + 1))
        self._place("flags", np.bool_, (envs, self.alive_columns.stop))
        self.results_size = self.size
        self._place("real_actions", np.float32, (envs, self.real_columns[-1].stop))
        self._place("int_actions", np.int64, (envs, self.int_columns[-1].stop))
        self._place("base", np.int64, (1,))
        self._place("episode", np.int64, (envs,))
        self._place("seed", np.int64, (envs,))
        self._place("active_env", np.int64, (num_workers,))

    def _place(self, name: str, dtype: Any, shape: Tuple[int, ...]) -> None:
        self.placements[name] = ArrayPlacement(self.size, dtype, shape)
        count = max(int(np.prod(shape)) * np.dtype(dtype).itemsize, 1)
        self.size += -(-count // ALIGNMENT) * ALIGNMENT

    def game_view(self, row: np.ndarray, flags: np.ndarray) -> GameView:
        """Arrays that a game writes to, as views of a row of views and of flags."""
        spec = self.spec
        return GameView(
            obs=[row[columns] for columns in self.obs_columns],
            state=row[self.state_columns].reshape(spec.state_agents, spec.state_size),
            action_mask=[flags[columns] for columns in self.mask_columns] if spec.has_action_mask else None,
            alive=flags[self.alive_columns] if spec.has_alive else None,
        )

    def array(self, memory: mmap.mmap, name: str) -> np.ndarray:
        """Array `name` of memory with this layout."""
        placement = self.placements[name]
        return np.ndarray(placement.shape, placement.dtype, memory, placement.offset)


class Draft:
    """A row of views and flags that a game writes, before it is known to be whole."""

    def __init__(self, layout: Layout):
        self.row = np.zeros(layout.state_columns.stop, np.float32)
        self.flags = np.zeros(layout.alive_columns.stop, np.bool_)
        self.view: GameView = layout.game_view(self.row, self.flags)

    def clear(self) -> None:
        """Zero everything, for a new game."""
        self.row[:] = 0.0
        self.flags[:] = False


class SharedBuffers:
    """The shared memory as arrays of E environments, and the writes to one environment's rows.

    V, F: widths of a row of views and of flags; R: rewards; M: metrics; W: workers.
    """

    def __init__(self, layout: Layout, file: IO[bytes]):
        if os.fstat(file.fileno()).st_size < layout.size:
            os.ftruncate(file.fileno(), layout.size)
        memory = mmap.mmap(file.fileno(), layout.size)
        self.layout = layout
        self.memory = memory
        self.num_rewards = layout.spec.reward_agents  # R
        self.views = layout.array(memory, "views")  # [E, V] float32: observations and state to act on
        self.next_views = layout.array(memory, "next_views")  # [E, V] float32: the true successors
        self.outcomes = layout.array(memory, "outcomes")  # [E, R + M + 1] float32: rewards, metrics, restarted
        self.flags = layout.array(memory, "flags")  # [E, F] bool: terminated, truncated, action masks, alive
        self.real_actions = layout.array(memory, "real_actions")  # [E, sum of widths] float32: of Box agents
        self.int_actions = layout.array(memory, "int_actions")  # [E, sum of widths] int64: of the other agents
        self.base = layout.array(memory, "base")  # [1] int64: start of the run's sequence of seeds
        self.episode = layout.array(memory, "episode")  # [E] int64: index of the running episode
        self.seed = layout.array(memory, "seed")  # [E] int64: seed of the running episode
        self.active_env = layout.array(memory, "active_env")  # [W] int64: environment that each worker plays

    def results(self) -> Dict[str, np.ndarray]:
        """Arrays that a step of the workers writes, by the names in RESULTS."""
        return {
            "views": self.views,
            "next_views": self.next_views,
            "outcomes": self.outcomes,
            "flags": self.flags,
        }

    def seed_state(self) -> Dict[str, np.ndarray]:
        """Arrays that determine the seeds of later episodes, by their names in a checkpoint."""
        return {"base": self.base, "episode": self.episode, "seed": self.seed}

    def view_state(self) -> Dict[str, np.ndarray]:
        """Arrays that say what the games show, by their names in a checkpoint."""
        return {"views": self.views, "marks": self.flags[:, END_FLAGS:]}

    def actions(self, e: int) -> List[np.ndarray]:
        """Arrays that hold the actions of environment e, A x [action_width_i]."""
        layout = self.layout
        return [
            self.real_actions[e, real] if isinstance(space, Box) else self.int_actions[e, integer]
            for space, real, integer in zip(layout.spec.actions, layout.real_columns, layout.int_columns)
        ]

    def next_seed(self, e: int) -> int:
        """Count a new episode of environment e and return its seed, unique in the run whichever worker plays it."""
        self.episode[e] += 1
        index = int(self.episode[e]) * self.layout.num_envs + e
        self.seed[e] = (int(self.base[0]) + index * MULTIPLIER) % SEEDS
        return int(self.seed[e])

    def start_seeds(self, seed: int) -> None:
        """Begin the sequence of seeds that belongs to a run's seed."""
        self.base[0] = np.random.SeedSequence(seed % 2**63).generate_state(1)[0] % SEEDS
        self.episode[:] = -1

    def clear_row(self, e: int) -> None:
        """Zero the observations and masks of environment e, for a new game to write."""
        self.views[e] = 0.0
        self.flags[e, END_FLAGS:] = False

    def write_view(self, e: int, row: np.ndarray, flags: np.ndarray) -> None:
        """Store what the game of environment e has written."""
        self.views[e] = row
        self.flags[e, END_FLAGS:] = flags[END_FLAGS:]

    def write_outcome(self, e: int, outcome: Outcome) -> None:
        """Store the result of a step of environment e, whose game has already written its view."""
        row = self.outcomes[e]
        row[: self.num_rewards] = np.ravel(outcome.reward)
        for column, name in enumerate(self.layout.spec.metrics, self.num_rewards):
            row[column] = outcome.metrics[name]
        row[-1] = 0.0
        self.next_views[e] = self.views[e]
        self.flags[e, 0] = outcome.terminated
        self.flags[e, 1] = outcome.truncated

    def mark_restarted(self, e: int) -> None:
        """Count a restart of environment e in this step's metrics."""
        self.outcomes[e, -1] = 1.0

    def mark_episode_lost(self, e: int) -> None:
        """Truncate the lost episode of environment e at its last observation, without reward.

        Bootstrapping from there makes the lost step as good as its state's value: next to nothing is learned from it.
        """
        if self.flags[e, :END_FLAGS].any():  # the metrics belong to the episode before
            self.outcomes[e] = 0.0
        self.outcomes[e, : self.num_rewards] = 0.0
        self.mark_restarted(e)
        self.next_views[e] = self.views[e]
        self.flags[e, 0] = False
        self.flags[e, 1] = True

    def clear_outcomes(self) -> None:
        """Reset the results of all environments to those of new episodes: no reward, nothing ended."""
        self.next_views[:] = self.views
        self.outcomes[:] = 0.0
        self.flags[:, :END_FLAGS] = False
