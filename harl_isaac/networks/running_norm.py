"""Normalizations of network inputs besides a LayerNorm: by running mean and variance, for inputs as different as angles
and forces, or none.
"""

from typing import Optional, Sequence, Union

import torch
from torch import Tensor, nn

from harl_isaac import ranks

LIMIT = 5.0  # deviations beyond which an input is cut off (as in rl_games)
EPS = 1e-5  # added to variances


class RunningNorm(nn.Module):
    """Normalizes by the mean and variance of all inputs [..., *shape] so far, each of them weighing the same.

    Before the first update, inputs pass as they are, within the limit. Kept in float64: in float32 a mean of 1e8
    inputs would no longer move.
    """

    def __init__(self, mean: Tensor, variance: Tensor, count: Tensor, saved: bool = True):
        super().__init__()
        for name, moment in (("mean", mean), ("variance", variance), ("count", count)):
            self.register_buffer(name, moment, persistent=saved)

    def row(self, i: int, width: int) -> "RunningNorm":
        """The normalizer of the first `width` inputs of row i of [A, F], a view that is saved with the whole."""
        return RunningNorm(self.mean[i, :width], self.variance[i, :width], self.count[i], saved=False)

    @torch.no_grad()
    def update(self, x: Tensor, weight: Optional[Tensor] = None) -> None:
        """Update the moments by a batch [N, *shape]; rows of weight 0 in [N, *shape[:-1]] do not count.

        Source: Chan et al., 1979 (parallel variance).
        """
        weight = torch.ones_like(x[..., :1]) if weight is None else weight[..., None].to(x.dtype)
        rows = ranks.total(weight.sum(0))
        mean = ranks.total((x * weight).sum(0)) / rows.clamp(min=1.0)
        variance = ranks.total(((x - mean).square() * weight).sum(0)) / rows.clamp(min=1.0)
        self.count += rows
        share = rows / self.count.clamp(min=1.0)
        change = mean - self.mean
        self.mean += share * change
        self.variance += share * (variance - self.variance) + share * (1.0 - share) * change.square()

    def forward(self, x: Tensor) -> Tensor:
        """Normalized inputs [..., *shape], within +-LIMIT."""
        return self.apply_to(x, self.mean, self.variance)

    def normalize_rows(self, x: Tensor) -> Tensor:
        """Normalize x [A, E, F] by the moments [A, F]."""
        return self.apply_to(x, self.mean[:, None], self.variance[:, None])

    @staticmethod
    def apply_to(x: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
        """Normalize by moments of another layout."""
        return (x - mean.to(x.dtype)).mul_((variance + EPS).rsqrt().to(x.dtype)).clamp_(-LIMIT, LIMIT)


class Unnormalized(nn.Module):
    """Inputs as they are, where a RunningNorm could stand."""

    def row(self, i: int, width: int) -> "Unnormalized":
        """The same for one row."""
        return self

    def update(self, x: Tensor, weight: Optional[Tensor] = None) -> None:
        """Learn nothing."""

    def forward(self, x: Tensor) -> Tensor:
        """Return x."""
        return x

    def normalize_rows(self, x: Tensor) -> Tensor:
        """Return x."""
        return x


InputNorm = Union[RunningNorm, Unnormalized]
INPUT_NORMS = ("layer", "running", "none")


def new_input_norm(kind: str, shape: Sequence[int], device: torch.device) -> Optional[InputNorm]:
    """One of INPUT_NORMS, without any input yet; None is a LayerNorm, which the network has itself."""
    if kind == "layer":
        return None
    if kind == "none":
        return Unnormalized()
    mean = torch.zeros(*shape, dtype=torch.float64, device=device)
    return RunningNorm(mean, torch.ones_like(mean), torch.zeros_like(mean[..., :1]))
