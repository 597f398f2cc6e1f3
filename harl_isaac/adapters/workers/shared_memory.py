"""The memory that a WorkerEnv and its workers share: actions in, views and outcomes out, and who is at what.

It has no name in any file system: it is gone with the last process that holds it, however that ends.
"""

import mmap
import os
import tempfile
from typing import Dict, List

import numpy as np

from harl_isaac.adapters.workers.game import GameSpec, Outcome, View
from harl_isaac.env import Box, action_width, mask_width

ALIGNMENT = 64  # bytes: a cache line, and a multiple of every item's size
RESULTS = ("now", "next", "outcome", "flags")  # what the parent reads after a step, side by side at the beginning
MULTIPLIER = 1_103_515_245  # odd, so that multiplying by it modulo a power of two maps no two numbers to one
SEEDS = 2**31


def shared_file():
    """An open file without a name, for memory that is inherited by its descriptor."""
    if hasattr(os, "memfd_create"):
        return os.fdopen(os.memfd_create("harl_isaac"), "w+b")
    return tempfile.TemporaryFile()


def side_by_side(widths) -> List[slice]:
    """Places of parts of these widths in one row."""
    ends = np.cumsum([0, *widths])
    return [slice(int(begin), int(end)) for begin, end in zip(ends, ends[1:])]


class Layout:
    """Where everything is: name -> (bytes from the beginning, dtype, shape), equal in every process."""

    def __init__(self, spec: GameSpec, num_envs: int, num_workers: int):
        self.spec = spec
        self.num_envs = num_envs
        self.obs = side_by_side(spec.obs_sizes)  # in a row of now and next; the state follows
        self.masks = side_by_side([mask_width(space) for space in spec.actions])  # in flags, behind the two
        self.reals = side_by_side([space.size if isinstance(space, Box) else 0 for space in spec.actions])
        self.choices = side_by_side([0 if isinstance(space, Box) else action_width(space) for space in spec.actions])
        view = self.obs[-1].stop + spec.state_agents * spec.state_size
        e = num_envs
        mask = self.masks[-1].stop if spec.has_action_mask else 0
        self.alive = slice(2 + mask, 2 + mask + (len(spec.agents) if spec.has_alive else 0))  # in flags
        parts = [
            ("now", np.float32, (e, view)),  # what the agents act on next
            ("next", np.float32, (e, view)),  # the true successor
            ("outcome", np.float32, (e, spec.reward_agents + len(spec.metrics) + 1)),  # rewards, metrics, restarted
            ("flags", np.bool_, (e, self.alive.stop)),  # terminated, truncated, action masks, alive
            ("reals", np.float32, (e, self.reals[-1].stop)),  # actions of Box agents
            ("choices", np.int64, (e, self.choices[-1].stop)),  # actions of the others
            ("base", np.int64, (1,)),  # where this run's seeds begin
            ("episode", np.int64, (e,)),  # each environment's running episode, from 0
            ("seed", np.int64, (e,)),  # what it began with
            ("busy", np.int64, (num_workers,)),
        ]  # the environment that each worker is at
        self.parts = {}  # type: Dict[str, Tuple[int, Any, Tuple[int, ...]]]
        self.size = 0
        for name, dtype, shape in parts:
            self.parts[name] = (self.size, dtype, shape)
            count = int(np.prod(shape)) * np.dtype(dtype).itemsize
            self.size += -(-max(count, 1) // ALIGNMENT) * ALIGNMENT
            if name == RESULTS[-1]:
                self.results_size = self.size  # bytes

    def arrays(self, memory) -> Dict[str, np.ndarray]:
        """The parts of a buffer that is laid out so."""
        return {name: np.ndarray(shape, dtype, memory, offset) for name, (offset, dtype, shape) in self.parts.items()}


class Board:
    """The shared memory as arrays, and the few things that are done with a row of it."""

    def __init__(self, layout: Layout, file):
        if os.fstat(file.fileno()).st_size < layout.size:
            os.ftruncate(file.fileno(), layout.size)
        self.layout = layout
        self.memory = mmap.mmap(file.fileno(), layout.size)
        for name, array in layout.arrays(self.memory).items():
            setattr(self, name, array)
        self.rewards = layout.spec.reward_agents

    def view(self, e: int) -> View:
        """What the agents of environment e see, for a game to write."""
        layout = self.layout
        spec = self.layout.spec
        row = self.now[e]
        flags = self.flags[e]
        masks = [flags[2 + part.start : 2 + part.stop] for part in layout.masks] if spec.has_action_mask else None
        return View(
            [row[part] for part in layout.obs],
            row[layout.obs[-1].stop :].reshape(spec.state_agents, spec.state_size),
            masks,
            flags[layout.alive] if spec.has_alive else None,
        )

    def actions(self, e: int) -> List[np.ndarray]:
        """Where the actions of environment e's agents arrive."""
        spec = self.layout.spec
        layout = self.layout
        return [
            self.reals[e, layout.reals[i]] if isinstance(space, Box) else self.choices[e, layout.choices[i]]
            for i, space in enumerate(spec.actions)
        ]

    def next_seed(self, e: int) -> int:
        """Count a new episode of environment e; its seed is like no other's of this run, whoever plays it."""
        self.episode[e] += 1
        index = int(self.episode[e]) * self.layout.num_envs + e
        self.seed[e] = (int(self.base[0]) + index * MULTIPLIER) % SEEDS
        return int(self.seed[e])

    def start_seeds(self, seed: int) -> None:
        """Begin the sequence of seeds that belongs to a run's seed."""
        self.base[0] = np.random.SeedSequence(seed % 2**63).generate_state(1)[0] % SEEDS
        self.episode[:] = -1

    def blank(self, e: int) -> None:
        """Forget what a game has shown: another one will write into its view."""
        self.now[e] = 0.0
        self.flags[e, 2:] = False

    def write(self, e: int, outcome: Outcome) -> None:
        """What a step of environment e brought; its view is written already."""
        row = self.outcome[e]
        spec = self.layout.spec
        row[: self.rewards] = outcome.reward
        for place, name in enumerate(spec.metrics, self.rewards):
            row[place] = outcome.metrics[name]
        row[-1] = 0.0
        self.next[e] = self.now[e]
        self.flags[e, :2] = outcome.terminated, outcome.truncated

    def lose(self, e: int) -> None:
        """The episode of environment e broke off: it ends as by a time limit, without reward, where it was last seen.

        Bootstrapping from there says that the lost step was worth what its state is worth: next to nothing is learned from it.
        """
        row = self.outcome[e]
        row[: self.rewards] = 0.0
        if self.flags[e, :2].any():  # the metrics are of the episode before
            row[:] = 0.0
        row[-1] = 1.0
        self.next[e] = self.now[e]
        self.flags[e, :2] = False, True

    def clear(self) -> None:
        """All environments have begun, nothing has happened yet."""
        self.next[:] = self.now
        self.outcome[:] = 0.0
        self.flags[:, :2] = False
