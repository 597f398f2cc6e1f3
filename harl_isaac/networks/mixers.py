"""Mixers: the value of a joint action from each agent's value of its own part, rising with every one of them."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.networks.mlp import layer_norm
from harl_isaac.networks.off_policy_nets import FeedForward

BIAS_GAIN = 0.01  # of a new mixer's biases; else the joint values begin far from zero, beside returns of about 1


class SumMixer(nn.Module):
    """The sum (VDN; Sunehag et al., 2018)."""

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """The joint value [B, 1] of the agents' values [B, A]."""
        return values.sum(1, keepdim=True)


class MonotonicMixer(nn.Module):
    """A network of M hidden units (ELU) whose weights networks of the state give (QMIX; Rashid et al., 2018).

    Its weights are absolute values, so that the joint value never falls where an agent's rises; its biases are free.
    With `state_norm` those networks see the state standardized, as the on-policy critics do.
    """

    def __init__(
        self,
        agents: int,
        state_size: int,
        mixing_size: int,
        hypernet_hidden: int,
        state_norm: bool,
        device: torch.device,
    ):
        super().__init__()
        self.agents = agents
        self.state_norm = state_norm

        def hypernet(outputs: int) -> FeedForward:
            return FeedForward(state_size, [hypernet_hidden], outputs, "relu", False, device)

        self.first_weight = hypernet(agents * mixing_size)
        self.first_bias = nn.Linear(state_size, mixing_size, device=device)
        self.last_weight = hypernet(mixing_size)
        self.last_bias = hypernet(1)
        with torch.no_grad():  # the first joint values are near zero, as the agents' are
            for parameter in (*self.first_bias.parameters(), *self.last_bias.layers[-1].parameters()):
                parameter.mul_(BIAS_GAIN)

    def forward(self, values: Tensor, state: Tensor) -> Tensor:
        """The joint value [B, 1] of the agents' values [B, A] in states [B, S]."""
        state = layer_norm(state) if self.state_norm else state
        weight = self.first_weight(state).abs().unflatten(1, (self.agents, -1))  # [B, A, M]
        hidden = F.elu(torch.einsum("ba,bam->bm", values, weight) + self.first_bias(state))
        return (hidden * self.last_weight(state).abs()).sum(1, keepdim=True) + self.last_bias(state)
