"""Networks of HAD3QN: dueling values (Wang et al., 2016), and the values of all joint actions in a state."""

from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.networks.off_policy_nets import FeedForward, NetworkFactory


class DuelingMLP(nn.Module):
    """Maps [..., in] to V + A - mean A [..., out]; both streams have a hidden layer as wide as the last (hardswish)."""

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, activation: str, layer_norm: bool, device: torch.device
    ):
        super().__init__()
        self.base = FeedForward(inputs, hidden[:-1], hidden[-1], activation, layer_norm, device)
        self.activation = ACTIVATIONS[activation]
        self.value = _stream(hidden[-1], 1, device)
        self.advantage = _stream(hidden[-1], outputs, device)

    def forward(self, x: Tensor) -> Tensor:
        """The values [..., out]."""
        x = self.activation(self.base(x))
        value = self.value[1](F.hardswish(self.value[0](x)))
        advantage = self.advantage[1](F.hardswish(self.advantage[0](x)))
        return value + advantage - advantage.mean(-1, keepdim=True)


def _stream(width: int, outputs: int, device: torch.device) -> nn.ModuleList:
    hidden = nn.Linear(width, width, device=device)
    return nn.ModuleList([hidden, nn.Linear(width, outputs, device=device)])


class JointActionQ(nn.Module):
    """Q(s, a) of every joint action: an output for each member of the product of the agents' choices `sizes`."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        sizes: Sequence[int],
        activation: str,
        layer_norm: bool,
        device: torch.device,
        network: NetworkFactory = DuelingMLP,
    ):
        super().__init__()
        self.sizes = list(sizes)
        self.strides = strides(sizes)
        self.net = network(inputs, hidden, self.strides[0] * self.sizes[0], activation, layer_norm, device)

    def forward(self, joint: Tensor) -> Tensor:
        """Q-values [1, B, 1] of states with the joint action's index beside them, [B, S + 1]."""
        return self.net(joint[:, :-1]).gather(1, joint[:, -1:].long())[None]

    def joint_index(self, actions: Sequence[Tensor]) -> Tensor:
        """Index [B] of joint actions, from each agent's choice A x [B]."""
        return sum(action * stride for action, stride in zip(actions, self.strides))

    def agent_q_values(self, i: int, values: Tensor, actions: Sequence[Tensor]) -> Tensor:
        """Values [B, N_i] of agent i's choices beside the others' `actions`, of the joint ones' `values` [B, all]."""
        rest = self.joint_index(actions) - actions[i] * self.strides[i]
        own = torch.arange(self.sizes[i], device=values.device) * self.strides[i]
        return values.gather(1, rest[:, None] + own)


def strides(sizes: Sequence[int]) -> List[int]:
    """Strides of a flat table of these sizes; the last axis runs fastest."""
    result = [1]
    for size in list(sizes)[:0:-1]:
        result.insert(0, result[0] * size)
    return result
