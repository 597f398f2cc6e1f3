"""A gradient step of several networks at once, each down its own loss and clipped by its own norm.

The networks lie in blocks of memory (networks/stacked_mlp.py): their losses are computed by batched products, their
gradients come as blocks, and one kernel of Adam moves them all.
"""

from typing import List, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import Loss, clip_scale, sum_over_parts
from harl_isaac.learning.optimizers import Optimizer, parameters_of, step_together
from harl_isaac.networks.stacked_mlp import StackedMLP

MOST_ROWS = 2**18  # of all networks together in one pass on a GPU, whose activations take memory


class JointStep:
    """Gradient steps of the networks in blocks [A, ...], whose optimizers know their parameters as views of these."""

    def __init__(self, blocks: Sequence[Tensor], optimizers: Sequence[Optimizer]):
        self.blocks = list(blocks)
        self.gradients = [torch.zeros_like(block) for block in blocks]
        self.optimizers = list(optimizers)
        places = {block.untyped_storage().data_ptr(): k for k, block in enumerate(self.blocks)}
        for optimizer in self.optimizers:
            for parameter in parameters_of(optimizer):
                gradient = self.gradients[places[parameter.untyped_storage().data_ptr()]]
                view = gradient.as_strided(parameter.shape, parameter.stride(), parameter.storage_offset())
                parameter.grad = view

    def __call__(self, loss: Loss, parts: List[RowIndex], max_norm: float) -> Tuple[Tensor, Tensor]:
        """One step on the sum of the parts' losses, each network's gradient clipped to the norm `max_norm`.

        `loss` gives the sum of the networks' losses and its sums to report. Returns the parts' summed reports and the
        gradients' norms [A] before clipping.
        """

        def gradients_of(part: RowIndex) -> List[Tensor]:
            value, report = loss(part)
            return [*torch.autograd.grad(value, self.blocks), report]

        for block in self.blocks:
            block.requires_grad_(True)
        try:
            *gradients, report = sum_over_parts(gradients_of, parts)
        finally:
            for block in self.blocks:
                block.requires_grad_(False)
        norm = self._take(gradients, max_norm)
        step_together(self.optimizers)
        return report, norm

    def _take(self, gradients: List[Tensor], max_norm: float) -> Tensor:
        """Keep the gradients, clipped; returns the norm of each network's, [A]."""
        squares = [gradient.flatten(1).square().sum(1) for gradient in gradients]
        norm = torch.stack(squares).sum(0).sqrt()
        scale = clip_scale(norm, max_norm)
        for own, gradient in zip(self.gradients, gradients):
            torch.mul(gradient, scale.view(-1, *[1] * (gradient.dim() - 1)), out=own)
        return norm


def joint_parts(index: RowIndex, rows: int, networks: StackedMLP, device: torch.device) -> List[RowIndex]:
    """Divide a minibatch of `rows` rows, each of all networks, into parts that fit a core's cache or a GPU's memory."""
    if device.type == "cpu":
        return chunks(index, rows, device, networks.widest, networks.rows)
    size = max(MOST_ROWS // networks.rows, 1)
    if not isinstance(index, slice):
        return list(index.split(size))
    return [slice(start, min(start + size, rows)) for start in range(0, rows, size)]
