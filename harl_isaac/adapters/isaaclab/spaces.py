"""Isaac Lab's gymnasium spaces in this library's terms."""

import math

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, MultiDiscrete, Space


def flat_size(whose: str, space) -> int:
    """Numbers in one observation or state. Raises ValueError for what is not an array."""
    if type(space).__name__ != "Box":
        raise ValueError(f"{whose} is seen as {space}; possible: Box (make the task concatenate its parts)")
    return math.prod(space.shape)


class ActionOf:
    """An agent's action space, and its actions in the simulation's units."""

    def __init__(self, agent: str, space, bound: float, device: torch.device):
        self.shape = None
        self.half = None
        self.middle = None
        self.space = self._read(agent, space, bound, device)

    def __call__(self, action: Tensor) -> Tensor:
        """[E, action_width] as the task takes it."""
        if self.shape is None:
            return action
        action = action if self.half is None else action * self.half + self.middle
        return action.reshape((-1,) + self.shape)

    def _read(self, agent: str, space, bound: float, device: torch.device) -> Space:
        kind = type(space).__name__
        if kind == "Discrete":
            return Discrete(int(space.n))
        if kind == "MultiDiscrete":
            return MultiDiscrete(tuple(int(n) for n in space.nvec.reshape(-1)))
        if kind != "Box":
            raise ValueError(f"{agent} acts by {space}; possible: Box, Discrete, MultiDiscrete")
        self.shape = tuple(space.shape)
        low, high = [
            torch.as_tensor(each, dtype=torch.float32, device=device).reshape(-1) for each in (space.low, space.high)
        ]
        low, high = [
            torch.where(torch.isfinite(each), each, torch.full_like(each, limit))
            for each, limit in ((low, -bound), (high, bound))
        ]
        if bool((low == low[0]).all() & (high == high[0]).all()):
            return Box(low.numel(), float(low[0]), float(high[0]))
        # bounds of its own in each dimension
        self.half = (high - low) / 2
        self.middle = (high + low) / 2
        return Box(low.numel())
