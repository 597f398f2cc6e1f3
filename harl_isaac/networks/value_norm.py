"""Running normalization of value targets (ValueNorm)."""

import torch
from torch import Tensor, nn

from harl_isaac import ranks

MOMENTS = ("mean", "mean_square", "weight")


class ValueNormalizer(nn.Module):
    """Running mean and variance of value targets, debiased (HARL's ValueNorm, beta 0.99999).

    Kept in float64: in float32 the mean of squares less the square of the mean is lost where the mean is large. With
    `columns`, targets are [B, columns] and each column has moments of its own.
    """

    def __init__(self, beta: float, device: torch.device, columns: int = 0):
        super().__init__()
        self.beta = beta
        shape = (columns,) if columns else ()
        for name in MOMENTS:
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64, device=device))

    def column(self, i: int) -> "ValueNormalizer":
        """The normalizer of column i, which shares its memory."""
        own = ValueNormalizer(self.beta, self.mean.device)
        for name in MOMENTS:
            setattr(own, name, getattr(self, name)[i])
        return own

    @torch.no_grad()
    def update(self, target: Tensor) -> None:
        """Update the moments by a batch of targets of any shape."""
        target = target.double()
        for total, value in (
            (self.mean, ranks.mean(self._batch_mean(target))),
            (self.mean_square, ranks.mean(self._batch_mean(target.square()))),
            (self.weight, torch.ones_like(self.weight)),
        ):
            total.mul_(self.beta).add_(value * (1.0 - self.beta))

    def _batch_mean(self, value: Tensor) -> Tensor:
        return value.mean(0) if self.mean.dim() else value.mean()

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
