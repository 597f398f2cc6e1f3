"""The critic V(s)."""

from typing import Optional, Sequence

import torch
from torch import Tensor, nn

from harl_isaac.networks.gru import SequenceStart
from harl_isaac.networks.mlp import new_mlp
from harl_isaac.networks.value_norm import ValueNormalizer


class Critic(nn.Module):
    """V(s) for states [..., S] -> [..., V], in the units of the return; V is 1, or A where one state has A rewards."""

    def __init__(
        self,
        state_size: int,
        hidden: Sequence[int],
        activation: str,
        device: torch.device,
        values: int = 1,
        recurrent: bool = False,
        beta: float = 0.99999,
        input_norm: str = "layer",
        layer_norm: bool = True,
    ):
        super().__init__()
        self.net = new_mlp(
            state_size,
            hidden,
            values,
            activation,
            head_gain=1.0,
            device=device,
            recurrent=recurrent,
            input_norm=input_norm,
            layer_norm=layer_norm,
        )
        self.normalizer = ValueNormalizer(beta, device)

    def forward(self, state: Tensor, sequence: Optional[SequenceStart] = None) -> Tensor:
        """V(s) in the units of the return."""
        return self.normalizer.denormalize(self.normalized(state, sequence))

    def normalized(self, state: Tensor, sequence: Optional[SequenceStart] = None) -> Tensor:
        """V(s) in the normalizer's units, in which the critic is fitted."""
        return self.net(state, sequence)
