"""The critic V(s), and the normaliser of its targets, which nobody outside sees."""

from typing import Optional, Sequence

import torch
from torch import Tensor, nn

from harl_isaac.networks.gru import Memory
from harl_isaac.networks.mlp import new_mlp


class ValueNormalizer(nn.Module):
    """Running mean and variance of value targets, debiased (HARL's ValueNorm, beta 0.99999).

    Kept in float64: in float32 the mean of squares less the square of the mean is lost where the mean is large.
    """

    def __init__(self, beta: float, device: torch.device):
        super().__init__()
        self.beta = beta
        for name in ("mean", "mean_square", "weight"):
            self.register_buffer(name, torch.zeros((), dtype=torch.float64, device=device))

    @torch.no_grad()
    def update(self, target: Tensor) -> None:
        """Take in a batch of targets of any shape."""
        target = target.double()
        for total, value in ((self.mean, target.mean()), (self.mean_square, target.square().mean()),
                             (self.weight, torch.ones_like(self.weight))):
            total.mul_(self.beta).add_(value * (1.0 - self.beta))

    def normalize(self, value: Tensor) -> Tensor:
        """Targets or values of any shape in units of the running deviation."""
        mean, std = (moment.to(value.dtype) for moment in self._moments())
        return (value - mean) / std

    def denormalize(self, value: Tensor) -> Tensor:
        """The inverse of `normalize`."""
        mean, std = (moment.to(value.dtype) for moment in self._moments())
        return value * std + mean

    def _moments(self):
        weight = self.weight.clamp(min=1e-5)
        mean = self.mean / weight
        return mean, (self.mean_square / weight - mean.square()).clamp(min=1e-2).sqrt()


class Critic(nn.Module):
    """V(s) for states [..., S] -> [..., V], in the units of the return; V is 1, or A where one state has A rewards."""

    def __init__(self, state_size: int, hidden: Sequence[int], activation: str, device: torch.device, values: int = 1,
                 recurrent: bool = False, beta: float = 0.99999, running_norm: bool = False):
        super().__init__()
        self.net = new_mlp(state_size, hidden, values, activation, head_gain=1.0, device=device, recurrent=recurrent,
                           running_norm=running_norm)
        self.normalizer = ValueNormalizer(beta, device)

    def forward(self, state: Tensor, memory: Optional[Memory] = None) -> Tensor:
        return self.normalizer.denormalize(self.normalized(state, memory))

    def normalized(self, state: Tensor, memory: Optional[Memory] = None) -> Tensor:
        """V(s) in the normaliser's units, in which the critic is fitted."""
        return self.net(state, memory)
