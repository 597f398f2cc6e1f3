"""Advantages and value targets."""

from typing import Tuple

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.learning.metrics import living


def gae(
    reward: Tensor, value: Tensor, next_value: Tensor, terminated: Tensor, truncated: Tensor, gamma: float, lam: float
) -> Tuple[Tensor, Tensor]:
    """Generalized advantage estimates and value targets, each [T, E, K] (Schulman et al., 2016).

    `next_value` is the value of each step's true successor: an episode cut off by its time limit bootstraps from where
    it really was, a terminated one does not bootstrap; either end cuts the sum over later steps. All arguments are
    [T, E, K] or broadcast to it.
    """
    bootstrap = gamma * (~terminated).to(value.dtype)
    carry = gamma * lam * (~(terminated | truncated)).to(value.dtype)
    delta = reward + bootstrap * next_value - value
    advantage = torch.empty_like(delta)
    running = torch.zeros_like(delta[0])
    for t in range(delta.shape[0] - 1, -1, -1):
        running = delta[t] + carry[t] * running
        advantage[t] = running
    return advantage, advantage + value


def normalize(advantage: Tensor, alive: Tensor) -> Tensor:
    """Zero mean and unit (population) deviation over the rows where alive is 1; same shapes. No host read."""
    count = living(alive)
    mean = ranks.total((advantage * alive).sum()) / count
    variance = ranks.total(((advantage - mean).square() * alive).sum()) / count
    return (advantage - mean) / (variance.sqrt() + 1e-5)
