"""Parallel environments of PettingZoo's kind, with what the installed ones lack: early leaving, masks, odd spaces."""

import os
import random

import numpy as np
from gymnasium import spaces

AGENTS = ["first", "second", "third"]


class Leaving:
    """Environment whose agents leave after 3, 4 and 5 steps, the last by truncation if `cut` (or "both").

    Each observes the step and its own last action. masked: where the action mask is, "obs", "info" or nowhere.
    """

    max_cycles = 5

    def __init__(self, masked="obs", cut=False):
        self.possible_agents = list(AGENTS)
        self.masked = masked
        self.cut = cut
        self.kinds = {
            "first": spaces.Discrete(3, start=10),
            "second": spaces.MultiDiscrete([2, 3]),
            "third": spaces.Box(np.array([0.0, -4.0], np.float32), np.array([2.0, 4.0], np.float32)),
        }
        self.closed = False

    @property
    def unwrapped(self):
        return self

    def observation_space(self, agent):
        inner = spaces.Box(-9, 9, (2, 1), np.float64)
        if agent == "third" or self.masked != "obs":
            return inner
        return spaces.Dict(
            {
                "observation": inner,
                "action_mask": spaces.MultiBinary(3 if agent == "first" else 5),
                "parity": spaces.Discrete(2),
            }
        )

    def action_space(self, agent):
        return self.kinds[agent]

    def reset(self, seed=None):
        self.agents = list(AGENTS)
        self.count = 0
        self.noise = seed % 7
        self.last = dict.fromkeys(AGENTS, 0.0)
        obs = {agent: self.observe(agent) for agent in self.agents}
        return obs, {agent: self.info(agent) for agent in self.agents}

    def mask(self, agent):
        if agent == "first":
            return np.array([1, 0, self.count % 2], np.int8)
        return np.zeros(5, np.int8) if self.count == 1 else np.array([0, 1, 1, 0, 0], np.int8)

    def observe(self, agent):
        obs = np.array([[self.count + self.noise / 10], [self.last[agent]]])
        if agent == "third" or self.masked != "obs":
            return obs
        return {"observation": obs, "action_mask": self.mask(agent), "parity": self.count % 2}

    def info(self, agent):
        if self.masked != "info" or agent == "third":
            return {}
        mask = self.mask(agent)
        return {"action_mask": mask if agent == "first" else (mask[:2], mask[2:])}

    def step(self, actions):
        assert sorted(actions) == sorted(self.agents) and all(
            self.kinds[name].contains(a) for name, a in actions.items()
        )
        self.count += 1
        for agent, action in actions.items():
            self.last[agent] = float(np.sum(action))
        acting = self.agents
        limit = {"first": 3, "second": 4, "third": 5}
        over = {agent: self.count >= limit[agent] for agent in acting}
        cut = {agent: over[agent] and bool(self.cut) and agent == "third" for agent in acting}
        self.agents = [agent for agent in acting if not over[agent]]
        return (
            {agent: self.observe(agent) for agent in acting},
            {agent: self.last[agent] + 1.0 for agent in acting},
            {agent: over[agent] and (not cut[agent] or self.cut == "both") for agent in acting},
            cut,
            {agent: self.info(agent) for agent in acting},
        )

    def close(self):
        self.closed = True


class Odd(Leaving):
    """Environment that does `what` in the second step of every episode (and "late" things from then on)."""

    def __init__(self, what, masked="nowhere", cut=False):
        super().__init__(masked, cut)
        self.what = what

    def step(self, actions):
        if self.what == "list":
            return [1.0, False]
        obs, rewards, terminated, truncated, infos = super().step(actions)
        if self.count == 2:
            change = {
                "scalar": lambda: obs.update(third=1.0),
                "one": lambda: obs.update(third=np.ones(1)),
                "turned": lambda: obs.update(third=np.ones((1, 2, 3))),
                "complex": lambda: obs.update(third=np.ones((2, 1)) + 1j),
                "words": lambda: obs.update(third=["a", "b"]),
                "nan": lambda: obs.update(third=np.array([[1.0], [np.nan]])),
                "huge": lambda: obs.update(third=np.array([[1.0], [1e300]])),
                "missing": lambda: obs.pop("third"),
                "reward_nan": lambda: rewards.update(first=np.float32(np.nan)),
                "reward_missing": lambda: rewards.pop("first"),
                "reward_many": lambda: rewards.update(first=np.ones(2)),
                "reward_complex": lambda: rewards.update(first=1j),
                "end_missing": lambda: truncated.pop("second"),
                "stranger": lambda: self.agents.append("fourth"),
                "mask_later": lambda: infos["first"].update(action_mask=np.ones(3)),
                "mask_wide": lambda: infos["first"].update(action_mask=np.ones(1)),
                "mask_logits": lambda: infos["first"].update(action_mask=np.array([0.0, -np.inf, 1.0])),
            }.get(self.what)
            if change:
                change()
        if self.what == "last_missing" and "third" not in self.agents:
            obs.pop("third", None)
        return obs, rewards, terminated, truncated, infos

    def state(self):
        if self.what == "state_later" and self.count < 2:
            raise NotImplementedError
        if self.what == "state_gone" and self.count >= 2:
            return None
        if self.what == "state_one" and self.count >= 2:
            return 1.0
        if self.what.startswith("state"):
            return np.zeros(4)
        raise NotImplementedError


class Dice(Leaving):
    """Environment that draws from process-wide generators when it is asked for its state."""

    def state(self):
        return np.array([random.random(), np.random.randn()])


def odd(**kwargs):
    return Odd(**kwargs)


def dice(**kwargs):
    return Dice(**kwargs)


def forgetful(**kwargs):
    """Environment that does not repeat itself for a seed."""
    env = Leaving(**kwargs)

    def reset(seed=None):
        return Leaving.reset(env, int.from_bytes(os.urandom(4), "big"))

    env.reset = reset
    return env


def parallel_env(**kwargs):
    return Leaving(**kwargs)


def endless(**kwargs):
    env = Leaving()
    env.max_cycles = None
    return env


def unbounded(**kwargs):
    env = Leaving()
    env.kinds["third"] = spaces.Box(-np.inf, np.inf, (2,))
    return env


def worded(**kwargs):
    env = Leaving()
    env.kinds["third"] = spaces.Text(5)
    return env


def nothing():
    return object()
