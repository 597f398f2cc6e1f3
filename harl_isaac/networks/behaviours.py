"""What the output of an off-policy actor's network means, one class for each way to act.

`head` [..., H] is the network's output for one agent, `mask` [..., N] allows choices (discrete only). Actions are float
[..., W]: of a Box in units in which the bounds are -1 and 1, choices as whole numbers. `encode` is how critics see them.
"""

from typing import Optional

import torch
from torch import Tensor

from harl_isaac.env import Box


class Deterministic:
    """tanh for a Box; explores with normal noise of deviation `noise` in half-ranges."""

    def __init__(self, space: Box, noise: float):
        self.head_size = self.width = self.features = space.size
        self.noise = noise

    def mode(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W]"""
        return torch.tanh(head)

    def explore(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] within the bounds."""
        return torch.add(torch.tanh(head), torch.randn_like(head), alpha=self.noise).clamp(-1.0, 1.0)

    def random(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] uniform within the bounds."""
        return torch.rand_like(head) * 2.0 - 1.0

    def encode(self, action: Tensor) -> Tensor:
        """[..., F]"""
        return action
