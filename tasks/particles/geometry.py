"""Geometry of discs in a plane, batched over environments."""

import torch
import torch.nn.functional as F
from torch import Tensor

CONTACT_MARGIN = 1e-3  # [m] over which a contact sets in
TINY = 1e-12  # [m] least distance to divide by


def points(rows: Tensor) -> Tensor:
    """View of rows [2n, E] of a table as points [E, n, 2]."""
    return rows.unflatten(0, (-1, 2)).permute(2, 0, 1)


def distance(one: Tensor, other: Tensor) -> Tensor:
    """Distance between points [..., 2], [...] in their unit."""
    return torch.hypot(*(one - other).unbind(-1))


def penetrations(position: Tensor, touching: float) -> Tensor:
    """Penetration that each disc feels from all others, as vectors [E, A, 2] m, of discs at [E, A, 2] m.

    Discs closer than `touching` m penetrate each other; a little farther away the penetration fades out smoothly.
    """
    away = position[:, :, None] - position[:, None]  # [E, A, A, 2]
    apart = torch.hypot(*away.unbind(-1))
    penetration = F.softplus(touching - apart, beta=1.0 / CONTACT_MARGIN)
    return (away * penetration.div_(apart.clamp_min_(TINY))[..., None]).sum(2)
