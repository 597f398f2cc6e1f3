"""Small games with everything that a worker must carry over: different agents, masks, absences, crashes."""

import ctypes
import json
import math
import os
import random
import subprocess
import time
from dataclasses import dataclass, replace

import numpy as np

from harl_isaac.adapters.workers.game import GameSpec, Outcome, fill
from harl_isaac.adapters.workers.settings import SimulatorCfg
from harl_isaac.env import Box, Discrete, MissingSimulator, MultiDiscrete


class Walk:
    """A mover (Box) and a talker (MultiDiscrete) whose views hold seed, step and effects of actions; all is saved."""

    spec = GameSpec(
        agents=("mover", "talker"),
        obs_sizes=(3, 5),
        actions=(Box(2, -1.0, 3.0), MultiDiscrete((2, 3))),
        state_size=4,
        max_episode_steps=7,
        state_agents=2,
        reward_agents=2,
        metrics=("distance",),
        has_action_mask=True,
        has_alive=True,
    )
    savable = True

    def reset(self, seed):
        self.random = np.random.default_rng(seed)
        self.seed = seed
        self.count = 0
        self.position = self.random.random(2)
        self.length = int(self.random.integers(3, 8))

    def step(self, actions):
        assert [a.dtype for a in actions] == [np.float32, np.int64]
        self.count += 1
        self.position = self.position + actions[0] * self.random.random(2) + actions[1] * [0.01, 0.1]
        over = self.count >= self.length
        last = self.count == 7
        distance = float(np.abs(self.position).sum())
        reward = [self.position[0], -self.position[1]]
        return Outcome(reward, over and not last, last, {"distance": distance})

    def look(self, view):
        view.obs[0][:] = self.seed % 1000, self.count, self.position[0]
        view.obs[1][:] = [*self.position, self.count, 1.0, self.length]
        view.state[0] = [*self.position, self.count, 0.0]
        view.state[1] = [*self.position, self.count, 1.0]
        view.action_mask[1][:] = True
        view.action_mask[1][4] = self.count % 2 == 0
        view.alive[:] = True, self.count % 3 != 2

    def save(self):
        if not self.savable:
            return None
        return json.dumps(
            [self.random.bit_generator.state, self.seed, self.count, self.position.tolist(), self.length]
        ).encode()

    def restore(self, saved):
        state, self.seed, self.count, position, self.length = json.loads(saved)
        self.random = np.random.default_rng()
        self.position = np.array(position)
        self.random.bit_generator.state = state

    def close(self):
        pass


class WithoutSave(Walk):
    """Game whose state cannot be saved."""

    savable = False


class Clumsy(Walk):
    """Game that does `what` when the mover's action exceeds 2 in its first dimension."""

    def __init__(self, what="raise", folder=""):
        self.what = what
        self.folder = folder
        if folder:  # note this process
            open(os.path.join(folder, f"game-{os.getpid()}"), "w").close()
        if what == "child":
            self.child = subprocess.Popen(["sleep", "1000"])
            open(os.path.join(folder, f"child-{self.child.pid}"), "w").close()

    def step(self, actions):
        if actions[0][0] > 2.0:
            self.fall()
        return super().step(actions)

    def fall(self):
        if self.what == "raise":
            raise RuntimeError("the game fell over")
        if self.what == "hang":
            time.sleep(1000)
        if self.what == "exit":
            os._exit(3)
        if self.what == "leave":
            raise SystemExit(4)
        if self.what == "segfault":
            ctypes.string_at(0)

    def save(self):
        if self.what == "save":
            raise RuntimeError("cannot be saved today")
        return super().save()


class Brittle(Clumsy):
    """Game that falls over in the first step of every episode."""

    def step(self, actions):
        raise RuntimeError("the game fell over")


class Mute(Exception):
    """Exception without words."""

    def __str__(self):
        raise RuntimeError("no words")


RAISED = {
    "eof": EOFError("the game's own"),
    "refused": ConnectionRefusedError("the game's own"),
    "pipe": BrokenPipeError("the game's own"),
    "interrupt": KeyboardInterrupt("the game's own"),
    "base": BaseException("the game's own"),
    "exit": SystemExit("the game's own"),
    "long": RuntimeError("the game's own " + 10_000_000 * "x"),
    "mute": Mute(),
}


class Odd(Walk):
    """Game that does `what` in a step whose action exceeds 2, and, with "always", in every step."""

    def __init__(self, what, always=False):
        self.what = what
        self.now = False
        self.always = always
        if what == "made_interrupted":
            raise KeyboardInterrupt("the game's own")
        if what == "long_made":
            raise ValueError("the game's own " + 10_000_000 * "x")
        if what == "made_no_spec":
            self.spec = None
        if what == "twins":
            self.spec = replace(Walk.spec, agents=("mover", "mover"))

    def reset(self, seed):
        super().reset(seed)
        self.now = False
        if self.what == "nan_reset":
            self.position[:] = np.nan

    def step(self, actions):
        self.now = self.always or actions[0][0] > 2.0
        outcome = super().step(actions)
        return self.changed(outcome) if self.now else outcome

    def changed(self, outcome):
        if self.what in RAISED:
            raise RAISED[self.what]
        if self.what in ("fork", "fork_raise") and os.fork() == 0 and self.what == "fork_raise":
            raise RuntimeError("in the child")
        if self.what == "close":
            os.closerange(3, 100)
        changes = {
            "nan_reward": {"reward": [1.0, math.nan]},
            "large_reward": {"reward": [1.0, 1e300]},
            "short_reward": {"reward": [1.0]},
            "one_reward": {"reward": 1.0},
            "complex_reward": {"reward": [1.0, 1j]},
            "both_ends": {"terminated": True, "truncated": True},
            "no_metric": {"metrics": {}},
            "more_metrics": {"metrics": {"distance": 0.0, "speed": 1.0}},
        }
        return (1.0, False) if self.what == "tuple" else replace(outcome, **changes.get(self.what, {}))

    def look(self, view):
        super().look(view)
        if self.now and self.what == "nan_obs":
            view.obs[1][2] = np.nan
        if self.now and self.what == "inf_state":
            view.state[1, 0] = -np.inf
        if self.now and self.what == "wrong_state":
            fill(view.state[0], 1.0, "state")

    def save(self):
        return "words" if self.what == "save" else super().save()

    def restore(self, saved):
        super().restore(saved)
        if self.what == "restore_else":
            self.position = self.position + 1.0
        if self.what == "restore_raise":
            raise RuntimeError("cannot be restored today")


class Dice(Walk):
    """Game that draws from all process-wide generators, at every look too (unless `quiet`), and never seeds them."""

    def __init__(self, quiet=False):
        from random import random as draw

        from numpy.random import normal

        self.quiet = quiet
        self.draw = draw
        self.normal = normal
        self.begun = np.random.rand()

    def reset(self, seed):
        super().reset(seed)
        self.position = self.position + random.random()

    def step(self, actions):
        self.position = self.position + random.gauss(0.0, 1.0) + np.random.randn() + self.normal()
        return super().step(actions)

    def look(self, view):
        super().look(view)
        view.state[0, 3] = self.begun
        if not self.quiet:
            view.state[0, 3] += self.draw() + np.random.mtrand._rand.rand()


class Missing:
    """Game whose simulator is not installed, or whose settings are wrong."""

    def __init__(self, error):
        raise {
            "missing": MissingSimulator("needs nothing; pip install nothing"),
            "wrong": ValueError("map=x; possible: y"),
            "broken": KeyError("inside"),
        }[error]


class Uneven(Walk):
    """Game that differs from the others of its task."""

    def __init__(self):
        if os.environ.setdefault("HARL_TEST_UNEVEN", "") == "":
            os.environ["HARL_TEST_UNEVEN"] = "second"
        else:
            self.spec = GameSpec(("mover",), (1,), (Discrete(2),), 1, 7)


@dataclass
class WalkCfg(SimulatorCfg):
    """Settings of a task with one of these games."""

    name: str = "Walk"
    kind: str = "Walk"
    what: str = ""
    folder: str = ""

    def game(self):
        return "support.worker_games:" + self.kind, {"what": self.what, "folder": self.folder} if self.what else {}
