"""Conversion of PettingZoo's (gymnasium's) spaces: observations to float32 rows, actions from the contract's spaces."""

from typing import Any, Callable, Mapping, Tuple

import numpy as np

from harl_isaac.adapters.workers.game import GameFault, real_array
from harl_isaac.adapters.workers.shared_memory import column_slices
from harl_isaac.env import Box, Discrete, MultiDiscrete, Space, mask_width

MASK = "action_mask"
ToEnv = Callable[[np.ndarray], Any]  # a policy's action [action_width] -> the environment's


class ObservationFlattener:
    """Converts one agent's observations to float32 [size], as gymnasium flattens them; an action mask is left out."""

    def __init__(self, space: Any):
        from gymnasium import spaces

        self.masked = isinstance(space, spaces.Dict) and MASK in space.spaces
        self.space = space
        if self.masked:
            self.space = spaces.Dict({key: part for key, part in space.spaces.items() if key != MASK})
        self.is_box = isinstance(space, spaces.Box)
        self.size = int(spaces.flatdim(self.space))

    def flatten(self, obs: Any, agent: Any = "anyone") -> np.ndarray:
        """Flatten one observation of the space to float32 [size]. Raises GameFault, naming `agent`, for any other."""
        name = f"agent {agent}: observation"
        if self.is_box:
            return box_array(self.space, obs, name).astype(np.float32, copy=False).reshape(-1)
        from gymnasium.spaces import flatten

        check_obs(self.space, obs, name)
        return np.asarray(flatten(self.space, obs), np.float32)


def box_array(space: Any, obs: Any, name: str) -> np.ndarray:
    """An observation of a Box as an array of its shape; axes of length one do not matter. Raises GameFault."""
    found = real_array(obs, name)
    if found.shape != space.shape:
        expected = [length for length in space.shape if length != 1]
        if [length for length in found.shape if length != 1] != expected:
            raise GameFault(f"{name}: expected shape {tuple(space.shape)}, got {found.shape}")
    return found


def check_obs(space: Any, obs: Any, name: str) -> None:
    """Raise GameFault for an observation that the space, which may have parts, would silently make another of."""
    from gymnasium import spaces

    if isinstance(space, spaces.Box):
        box_array(space, obs, name)
    elif isinstance(space, spaces.Dict):
        if not isinstance(obs, Mapping) or not set(space.spaces) <= set(obs):
            got = ", ".join(sorted(map(str, obs))) if isinstance(obs, Mapping) else type(obs).__name__
            raise GameFault(f"{name}: expected {', '.join(map(str, space.spaces))}, got {got or 'none of them'}")
        for key, part in space.spaces.items():
            check_obs(part, obs[key], f"{name}, {key}")
    elif isinstance(space, spaces.Tuple):
        if not isinstance(obs, (tuple, list)) or len(obs) != len(space.spaces):
            raise GameFault(f"{name}: expected {len(space.spaces)} parts, got {type(obs).__name__}")
        for i, part in enumerate(space.spaces):
            check_obs(part, obs[i], f"{name}, part {i}")
    elif isinstance(space, (spaces.Discrete, spaces.MultiDiscrete, spaces.MultiBinary)):
        found = real_array(obs, name)
        single = isinstance(space, spaces.Discrete)
        shape = () if single else space.shape
        low = getattr(space, "start", 0)
        count = space.n if single else getattr(space, "nvec", 2)
        if found.size != int(np.prod(shape)):
            raise GameFault(f"{name}: expected one of {space}, got shape {found.shape}")
        choice = found.reshape(shape)
        if not ((choice >= low) & (choice < low + count) & (choice == np.floor(choice))).all():
            raise GameFault(f"{name}: expected one of {space}, got {obs}")


class ActionConverter:
    """Converts one agent's actions: `space` is the policy's, `to_env` makes an action the environment's.

    Raises ValueError for a space that the policies have no distribution for, naming `agent`.
    """

    def __init__(self, space: Any, agent: str):
        self.space: Space
        self.to_env: ToEnv
        self.space, self.to_env = converted(space, agent)
        # each choice's columns in an action mask
        self.heads = column_slices(getattr(self.space, "nvec", (mask_width(self.space),)))


def converted(space: Any, agent: str) -> Tuple[Space, ToEnv]:
    """Space for the policy, and the function that converts its actions. Raises ValueError."""
    from gymnasium import spaces

    converters = {
        spaces.Box: _box,
        spaces.Discrete: _discrete,
        spaces.MultiDiscrete: _multi_discrete,
        spaces.MultiBinary: _multi_binary,
    }
    for kind, converter in converters.items():
        if isinstance(space, kind):
            return converter(space, agent)
    possible = ", ".join(kind.__name__ for kind in converters)
    raise ValueError(f"agent {agent} has actions {space}; possible: {possible}")


def _box(space: Any, agent: str) -> Tuple[Space, ToEnv]:
    """Convert real actions; bounds that differ between dimensions become [-1, 1], each scaled to its own."""
    low = space.low.astype(np.float64).reshape(-1)
    high = space.high.astype(np.float64).reshape(-1)
    if not (np.isfinite(low).all() and np.isfinite(high).all() and np.issubdtype(space.dtype, np.floating)):
        raise ValueError(
            f"agent {agent} has actions {space}: neither without bounds nor whole numbers are possible; give the "
            "environment finite real bounds, for example by a wrapper"
        )
    uniform = (low == low[0]).all() and (high == high[0]).all()

    def to_env(action: np.ndarray) -> np.ndarray:
        value = action if uniform else low + (high - low) * (action + 1.0) / 2.0
        return np.clip(value, low, high).reshape(space.shape).astype(space.dtype)  # float32 may round beyond them

    return Box(low.size, float(low[0]), float(high[0])) if uniform else Box(low.size), to_env


def _discrete(space: Any, agent: str) -> Tuple[Space, ToEnv]:
    start = int(space.start)

    def to_env(action: np.ndarray) -> int:
        return int(action[0]) + start

    return Discrete(int(space.n)), to_env


def _multi_discrete(space: Any, agent: str) -> Tuple[Space, ToEnv]:
    start = getattr(space, "start", 0)

    def to_env(action: np.ndarray) -> np.ndarray:
        return (action.reshape(space.shape) + start).astype(space.dtype)

    return MultiDiscrete(tuple(int(n) for n in np.ravel(space.nvec))), to_env


def _multi_binary(space: Any, agent: str) -> Tuple[Space, ToEnv]:
    def to_env(action: np.ndarray) -> np.ndarray:
        return action.reshape(space.shape).astype(space.dtype)

    return MultiDiscrete((2,) * int(np.prod(space.shape))), to_env
