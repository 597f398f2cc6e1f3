"""PettingZoo's spaces in the contract's terms: observations as rows of numbers, actions of three kinds."""

from typing import Any

import numpy as np

from harl_isaac.adapters.workers.shared_memory import side_by_side
from harl_isaac.env import Box, Discrete, MultiDiscrete, mask_width

MASK = "action_mask"


class Observation:
    """One agent's observations as float32 [size], as gymnasium flattens them; an action mask is left out."""

    def __init__(self, space):
        from gymnasium import spaces

        self.masked = isinstance(space, spaces.Dict) and MASK in space.spaces
        self.space = (
            spaces.Dict({key: part for key, part in space.spaces.items() if key != MASK}) if self.masked else space
        )
        self.plain = isinstance(space, spaces.Box)
        self.size = int(spaces.flatdim(self.space))

    def flat(self, seen: Any) -> np.ndarray:
        if self.plain:
            return np.asarray(seen, np.float32).reshape(-1)
        from gymnasium.spaces import flatten

        return np.asarray(
            flatten(self.space, {key: seen[key] for key in self.space.spaces} if self.masked else seen), np.float32
        )


class Action:
    """One agent's actions: `space` for the policy, `to_env` for the environment.

    Bounds that differ between dimensions become [-1, 1] for the policy, each scaled to its own.
    """

    def __init__(self, space, agent: str):
        from gymnasium import spaces

        kinds = {
            spaces.Box: self._box,
            spaces.Discrete: self._discrete,
            spaces.MultiDiscrete: self._multi_discrete,
            spaces.MultiBinary: self._multi_binary,
        }
        for kind, method in kinds.items():
            if isinstance(space, kind):
                self.space, self.to_env = method(space, agent)  # type: Space, Any
                self.heads = side_by_side(getattr(self.space, "nvec", (mask_width(self.space),)))  # in an action mask
                return
        raise ValueError(
            "agent {} has actions {}; possible: {}".format(agent, space, ", ".join(kind.__name__ for kind in kinds))
        )

    def _box(self, space, agent: str):
        low = space.low.astype(np.float64).reshape(-1)
        high = space.high.astype(np.float64).reshape(-1)
        if not (np.isfinite(low).all() and np.isfinite(high).all() and np.issubdtype(space.dtype, np.floating)):
            raise ValueError(
                f"agent {agent} has actions {space}: neither without bounds nor whole numbers are possible; give the "
                "environment finite real bounds, for example by a wrapper"
            )
        even = (low == low[0]).all() and (high == high[0]).all()

        def to_env(action):
            value = action if even else low + (high - low) * (action + 1.0) / 2.0
            return np.clip(value, low, high).reshape(space.shape).astype(space.dtype)  # float32 may round beyond them

        return Box(low.size, float(low[0]), float(high[0])) if even else Box(low.size), to_env

    def _discrete(self, space, agent: str):
        return Discrete(int(space.n)), lambda action: int(action[0]) + int(space.start)

    def _multi_discrete(self, space, agent: str):
        start = getattr(space, "start", 0)
        return MultiDiscrete(tuple(int(n) for n in np.ravel(space.nvec))), lambda action: (
            action.reshape(space.shape) + start
        ).astype(space.dtype)

    def _multi_binary(self, space, agent: str):
        size = int(np.prod(space.shape))
        return MultiDiscrete((2,) * size), lambda action: action.reshape(space.shape).astype(space.dtype)
