"""The critic V(s)."""

from typing import List, NamedTuple, Optional, Sequence

import torch
from torch import Tensor, nn

from harl_isaac.networks.gru import SequenceStart
from harl_isaac.networks.mlp import MLP, initialize, new_mlp
from harl_isaac.networks.stacked_mlp import StackedMLP
from harl_isaac.networks.value_norm import ValueNormalizer

HEAD_GAIN = 1.0  # orthogonal gain of the last layer
BETA = 0.99999  # of the value normalizer


class Critic(nn.Module):
    """V(s) for states [..., S] -> [..., V], in the units of the return; V is 1, or A where one state has A rewards."""

    def __init__(self, net: MLP, normalizer: ValueNormalizer):
        super().__init__()
        self.net = net
        self.normalizer = normalizer

    def forward(self, state: Tensor, sequence: Optional[SequenceStart] = None) -> Tensor:
        """V(s) in the units of the return."""
        return self.normalizer.denormalize(self.normalized(state, sequence))

    def normalized(self, state: Tensor, sequence: Optional[SequenceStart] = None) -> Tensor:
        """V(s) in the normalizer's units, in which the critic is fitted."""
        return self.net(state, sequence)


def new_critic(
    state_size: int,
    hidden: Sequence[int],
    activation: str,
    device: torch.device,
    values: int = 1,
    recurrent: bool = False,
    beta: float = BETA,
    input_norm: str = "layer",
    layer_norm: bool = True,
) -> Critic:
    """An initialized critic with parameters of its own."""
    net = new_mlp(
        state_size,
        hidden,
        values,
        activation,
        head_gain=HEAD_GAIN,
        device=device,
        recurrent=recurrent,
        input_norm=input_norm,
        layer_norm=layer_norm,
    )
    return Critic(net, ValueNormalizer(beta, device))


class StackedCritics(NamedTuple):
    """A critics of one value each, whose parameters and moments share blocks of memory."""

    networks: StackedMLP
    normalizer: ValueNormalizer  # of A columns
    each: List[Critic]


def new_stacked_critics(
    inputs: Sequence[int],
    hidden: Sequence[int],
    activation: str,
    device: torch.device,
    recurrent: bool = False,
    input_norm: str = "layer",
    layer_norm: bool = True,
) -> StackedCritics:
    """Initialized critics for inputs of these widths."""
    outputs = [1] * len(inputs)
    networks = StackedMLP(inputs, hidden, outputs, activation, device, recurrent, input_norm, layer_norm)
    normalizer = ValueNormalizer(BETA, device, columns=len(inputs))
    each = []
    for i in range(len(inputs)):
        net = networks.mlp(i)
        initialize(net, activation, HEAD_GAIN)
        each.append(Critic(net, normalizer.column(i)))
    return StackedCritics(networks, normalizer, each)
