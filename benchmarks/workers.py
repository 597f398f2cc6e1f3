"""Cost of environments in other processes.

The environments here take a millisecond of wall time a step, busy or asleep, and give three agents 100 numbers each. A
step of theirs can also be many at once (its action says how many), which is the bare loop, in the very same processes.
"""

import time
from typing import Any, Dict, Iterator, List, Sequence

import numpy as np
import torch

from benchmarks.clock import Clock, Figures, rates, ratios, show
from harl_isaac.adapters.workers.env import WorkerEnv
from harl_isaac.adapters.workers.game import GameSpec, GameView, Outcome
from harl_isaac.env import Discrete

ENVS = 16
WORKERS = 2
STEPS = 40
COST = 1e-3  # [s] of a step
AGENTS = 3
WIDTH = 100


class Millisecond:
    """A game whose steps take COST each; the first agent's action is how many to do."""

    spec = GameSpec(
        agents=tuple(f"agent_{i}" for i in range(AGENTS)),
        obs_sizes=(WIDTH,) * AGENTS,
        actions=(Discrete(STEPS + 1),) * AGENTS,
        state_size=WIDTH,
        max_episode_steps=100,
    )

    def __init__(self, busy: bool):
        self.busy = busy
        self.count = 0  # steps so far
        self.numbers = np.zeros((AGENTS, WIDTH), np.float32)  # observations

    def reset(self, seed: int) -> None:
        """Begin an episode."""
        self.count = 0
        self.numbers = np.random.default_rng(seed).random((AGENTS, WIDTH), np.float32)

    def step(self, actions: Sequence[np.ndarray]) -> Outcome:
        """Do as many steps as the first action says."""
        for _ in range(int(actions[0][0])):
            self.work()
            self.count += 1
        return Outcome([1.0], False, self.count % 100 == 0, {})

    def work(self) -> None:
        """Spend COST, computing or asleep."""
        if not self.busy:
            time.sleep(COST)
            return
        end = time.perf_counter() + COST
        while time.perf_counter() < end:
            pass

    def look(self, view: GameView) -> None:
        """Write the observations and the state."""
        for obs, numbers in zip(view.obs, self.numbers):
            obs[:] = numbers
        view.state[0] = self.count

    def save(self) -> None:
        """Return None: this game cannot be saved."""

    def restore(self, saved: Any) -> None:
        """Raise NotImplementedError: there is nothing to restore."""
        raise NotImplementedError

    def close(self) -> None:
        """Nothing to release."""


def worker_cost(repeats: int) -> Iterator[Dict[str, Any]]:
    """Figures of both kinds of work, printed as they come."""
    for busy, work in ((True, "busy"), (False, "asleep")):
        figures = worker_ratio(busy, repeats)
        show(work, ENVS, figures)
        yield {"what": "workers", "work": work, "num_envs": ENVS, "workers": WORKERS, **figures}


def worker_ratio(busy: bool, repeats: int) -> Figures:
    """Steps/s through WorkerEnv, and of the bare loop in the same processes, in turn."""
    env = WorkerEnv("benchmarks.workers:Millisecond", {"busy": busy}, ENVS, torch.device("cpu"), WORKERS)
    env.reset(0)
    ours: List[float] = []
    bare: List[float] = []
    for k in range(repeats + 1):
        sides = [(ours, STEPS, 1), (bare, 1, STEPS)]  # calls of env.step, steps of the game in each
        for seconds, calls, steps in sides if k % 2 else sides[::-1]:
            seconds.append(step_seconds(env, calls, steps))
    env.close()
    rows = ENVS * STEPS
    return {  # the first of each warms up
        "steps_per_second": rates(rows, ours[1:]),
        "bare_steps_per_second": rates(rows, bare[1:]),
        "ratio": ratios(ours[1:], bare[1:]),
    }


def step_seconds(env: WorkerEnv, calls: int, steps: int) -> float:
    """Seconds of `calls` steps of the environment, each of which is `steps` steps of every game."""
    actions = (torch.full((ENVS, 1), steps),) * AGENTS
    clock = Clock(torch.device("cpu"))
    begin = clock.now()
    for _ in range(calls):
        env.step(actions)
    return clock.now() - begin
