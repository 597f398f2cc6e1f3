"""What it costs to have environments in other processes: `python scripts/benchmark.py workers`.

The environments here take a millisecond of wall time a step, busy or asleep, and show three agents 100 numbers each. A step
of theirs can also be many at once (its action says how many), which is the bare loop, in the very same processes.
"""

import time

import numpy as np
import torch

from benchmarks.clock import Clock, show, spread
from harl_isaac.adapters.workers.env import WorkerEnv
from harl_isaac.adapters.workers.game import GameSpec, Outcome
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

    def reset(self, seed: int) -> None:
        self.count = 0
        self.numbers = np.random.default_rng(seed).random((AGENTS, WIDTH), np.float32)

    def step(self, actions) -> Outcome:
        for _ in range(int(actions[0][0])):
            self.work()
            self.count += 1
        return Outcome([1.0], False, self.count % 100 == 0, {})

    def work(self) -> None:
        if not self.busy:
            time.sleep(COST)
            return
        end = time.perf_counter() + COST
        while time.perf_counter() < end:
            pass

    def look(self, view) -> None:
        for obs, numbers in zip(view.obs, self.numbers):
            obs[:] = numbers
        view.state[0] = self.count

    def save(self):
        return None

    def restore(self, saved) -> None:
        raise NotImplementedError

    def close(self) -> None:
        pass


def transport(repeats: int):
    """Figures of both kinds of work: seconds of the steps through WorkerEnv, beside the bare loop in the same processes."""
    clock = Clock(torch.device("cpu"))
    for busy, work in ((True, "busy"), (False, "asleep")):
        env = WorkerEnv("benchmarks.workers:Millisecond", {"busy": busy}, ENVS, torch.device("cpu"), WORKERS)
        env.reset(0)
        one, many = ((torch.full((ENVS, 1), count),) * AGENTS for count in (1, STEPS))

        def steps():
            for _ in range(STEPS):
                env.step(one)

        ours = []
        bare = []
        for k in range(repeats + 1):  # the first warms up
            for seconds, function, args in [(ours, steps, ()), (bare, env.step, (many,))][:: 1 if k % 2 else -1]:
                seconds.append(clock.time(function, *args))
        env.close()
        figures = {
            "steps_per_second": spread([ENVS * STEPS / t for t in ours[1:]]),
            "bare_steps_per_second": spread([ENVS * STEPS / t for t in bare[1:]]),
            "ratio": spread([a / b for a, b in zip(ours[1:], bare[1:])]),
        }
        show(work, ENVS, figures)
        yield {"what": "workers", "work": work, "num_envs": ENVS, "workers": WORKERS, **figures}
