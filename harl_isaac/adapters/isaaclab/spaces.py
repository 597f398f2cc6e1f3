"""Conversion of Isaac Lab's gymnasium spaces to those of `harl_isaac.env`."""

import math
from typing import Any, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, MultiDiscrete, Space


def flat_size(whose: str, space: Any) -> int:
    """Size of a flattened observation or state. Raises ValueError for a space that is not an array."""
    if type(space).__name__ != "Box":
        raise ValueError(f"{whose} is seen as {space}; possible: Box (make the task concatenate its parts)")
    return math.prod(space.shape)


class ActionConverter:
    """An agent's action space for its policy, and the conversion of its actions to the simulation's units.

    Bounds that differ between dimensions become [-1, 1] for the policy, each scaled to its own. A Box without bounds
    gets +-`bound`. Raises ValueError for a space of another kind.
    """

    space: Space  # for the policy
    shape: Optional[Tuple[int, ...]]  # of a Box in the simulation, else None
    half: Optional[Tensor]  # [size] half the range of each dimension, None where all have the same bounds
    middle: Tensor  # [size] middle of each dimension's bounds, where `half` is given

    def __init__(self, agent: str, space: Any, bound: float, device: torch.device):
        self.shape = None
        self.half = None
        kind = type(space).__name__
        if kind == "Discrete":
            self.space = Discrete(int(space.n))
        elif kind == "MultiDiscrete":
            self.space = MultiDiscrete(tuple(int(n) for n in space.nvec.reshape(-1)))
        elif kind == "Box":
            self.space = self._convert_box(space, bound, device)
        else:
            raise ValueError(f"{agent} acts by {space}; possible: Box, Discrete, MultiDiscrete")

    def __call__(self, action: Tensor) -> Tensor:
        """Convert a policy's actions [E, action_width] to what the task takes, [E, *shape] for a Box."""
        if self.shape is None:
            return action
        if self.half is not None:
            action = action * self.half + self.middle
        return action.reshape((-1,) + self.shape)

    def _convert_box(self, space: Any, bound: float, device: torch.device) -> Box:
        self.shape = tuple(space.shape)
        low = finite_bounds(space.low, -bound, device)
        high = finite_bounds(space.high, bound, device)
        if bool((low == low[0]).all() & (high == high[0]).all()):
            return Box(low.numel(), float(low[0]), float(high[0]))
        self.half = (high - low) / 2
        self.middle = (high + low) / 2
        return Box(low.numel())


def finite_bounds(values: Any, replacement: float, device: torch.device) -> Tensor:
    """Bounds of an array as float32 [size], with `replacement` for those that are not finite."""
    bounds = torch.as_tensor(values, dtype=torch.float32, device=device).reshape(-1)
    return torch.where(torch.isfinite(bounds), bounds, torch.full_like(bounds, replacement))
