"""The recurrence of policies and critics: one GRU layer (Cho et al., 2014) whose state starts at zero with each
episode.

An episode's end inside a sequence is a mask, not a cut: the loop runs over the steps of a sequence, for all sequences
at once, wherever episodes end.
"""

from typing import NamedTuple, Union

import torch
from torch import Tensor


class SequenceStart(NamedTuple):
    """The recurrent state that N sequences of L steps start from, and where episodes begin in them."""

    hidden: Tensor  # [N, H] before the first step
    episode_starts: Tensor  # [N, L] bool: an episode begins with this step, so the state is zero before it

    def rows(self, index: Union[slice, Tensor]) -> "SequenceStart":
        """The sequences that a slice or an index tensor selects."""
        return SequenceStart(self.hidden[index], self.episode_starts[index])


def gru_step(inputs: Tensor, recurrent: Tensor, hidden: Tensor) -> Tensor:
    """The next state [..., H]; inputs = W x + b and recurrent = U h + c are [..., 3H]: reset, update, candidate."""
    size = hidden.shape[-1]
    gates = torch.sigmoid(inputs[..., : 2 * size] + recurrent[..., : 2 * size])
    candidate = torch.tanh(torch.addcmul(inputs[..., 2 * size :], gates[..., :size], recurrent[..., 2 * size :]))
    return torch.lerp(candidate, hidden, gates[..., size:])


def unroll(inputs: Tensor, weight: Tensor, bias: Tensor, start: SequenceStart) -> Tensor:
    """States [N, L, H] after each step; inputs [N, L, 3H], weight U [3H, H], bias c [3H]."""
    hidden = start.hidden
    states = []
    keep = (~start.episode_starts).to(inputs.dtype)[..., None]
    for step in range(inputs.shape[1]):
        hidden = hidden * keep[:, step]
        hidden = gru_step(inputs[:, step], torch.addmm(bias, hidden, weight.t()), hidden)
        states.append(hidden)
    return torch.stack(states, 1)
