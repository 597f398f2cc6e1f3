"""The network of the on-policy algorithms (HARL, Appendix K and reference implementation).

LayerNorm on the input (or its running moments), then [Linear, activation, LayerNorm] for each hidden layer, a GRU
with a LayerNorm behind it if the network is recurrent, then a Linear head; orthogonal weights, zero biases. The
LayerNorms behind the input can be left out (algo.layer_norm=false), and so can any normalization of the input.
"""

from functools import partial
from typing import List, Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.networks.gru import SequenceStart, unroll
from harl_isaac.networks.running_norm import InputNorm, new_input_norm

EPS = 1e-5  # LayerNorm's
ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "elu": F.elu, "selu": F.selu}
# The same, written over the output of a Linear, which no backward pass needs: one pass over memory less.
IN_PLACE = {"relu": torch.relu_, "tanh": torch.tanh_, "elu": partial(F.elu, inplace=True), "selu": torch.selu_}


class MLP(nn.Module):
    """Maps [..., in] to [..., out] with the given tensors as its parameters, which may be views of a larger block.

    The first weight is [in, out], the others are [out, in]; `norm_*` are the LayerNorm in front of each Linear, or of
    the first alone: the others then have none. A LayerNorm's scale and shift are folded into the Linear behind it: the
    same function, but their gradients then come from the weight's, and no gradient is computed for the observations.
    With `gru`, its (weight [3H, H], bias [3H]), the last Linear but one gives the GRU's inputs [3H], and x is
    [N, L, in] with a `SequenceStart`. `input_norm`, if given, replaces the LayerNorm on the input, whose scale and
    shift remain.
    """

    def __init__(
        self,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor],
        norm_weights: Sequence[Tensor],
        norm_biases: Sequence[Tensor],
        activation: str,
        gru: Sequence[Tensor] = (),
        input_norm: Optional[InputNorm] = None,
    ):
        super().__init__()
        self.weights = _parameters(weights)
        self.biases = _parameters(biases)
        self.norm_weights = _parameters(norm_weights)
        self.norm_biases = _parameters(norm_biases)
        self.gru = _parameters(gru)
        self.activate = IN_PLACE[activation]
        self.input_norm = input_norm
        hidden = biases[: -2 if gru else -1]
        self.width = max(len(bias) for bias in hidden)  # of the widest hidden layer

    def forward(self, x: Tensor, sequence: Optional[SequenceStart] = None) -> Tensor:
        """The output [..., out]."""
        return self.run(x, sequence)[0]

    def standardized(self, x: Tensor) -> Tensor:
        """Inputs [..., in] as the first Linear takes them: the same in every pass over a batch."""
        return layer_norm(x) if self.input_norm is None else self.input_norm(x)

    def run(
        self, x: Tensor, sequence: Optional[SequenceStart] = None, standardized: bool = False
    ) -> Tuple[Tensor, Optional[Tensor]]:
        """The output [..., out], and of a recurrent network its states [N, L, H] after each step.

        `standardized` says that x has been standardized before.
        """
        last = len(self.weights) - 1
        states = None
        for layer, weight in enumerate(self.matrices()):
            bias = self.biases[layer]
            if layer < len(self.norm_weights):  # else there is no LayerNorm here
                bias = torch.addmv(bias, weight, self.norm_biases[layer])
                weight = weight * self.norm_weights[layer]
                if layer > 0:
                    x = layer_norm(x)
                elif not standardized:
                    x = self.standardized(x)
            x = F.linear(x, weight, bias)
            if sequence is not None and layer == last - 1:
                states = unroll(x, self.gru[0], self.gru[1], sequence)
                x = states
            elif layer < last:
                x = self.activate(x)
        return x, states

    def matrices(self) -> List[Tensor]:
        """All weights as [out, in]."""
        return [self.weights[0].t()] + list(self.weights[1:])


def layer_norm(x: Tensor) -> Tensor:
    """Standardize each row of [..., F]: mean 0 and deviation 1."""
    return F.layer_norm(x, x.shape[-1:], eps=EPS)


def layer_sizes(inputs: int, hidden: Sequence[int], outputs: int, recurrent: bool) -> Tuple[List[int], List[int]]:
    """Inputs and outputs of each Linear; a GRU, as wide as the last hidden layer, adds one for its three gates."""
    ins = [inputs, *hidden]
    outs = [*hidden, outputs]
    if recurrent:
        ins.append(hidden[-1])
        outs.insert(len(hidden), 3 * hidden[-1])
    return ins, outs


def new_mlp(
    input_size: int,
    hidden: Sequence[int],
    output_size: int,
    activation: str,
    head_gain: float,
    device: torch.device,
    recurrent: bool = False,
    input_norm: str = "layer",
    layer_norm: bool = True,
) -> MLP:
    """An initialized MLP with parameters of its own."""
    ins, outs = layer_sizes(input_size, hidden, output_size, recurrent)
    weights = [torch.zeros(ins[0], outs[0], device=device)]
    weights += [torch.zeros(out, width, device=device) for width, out in zip(ins[1:], outs[1:])]
    gates = 3 * hidden[-1]
    gru = [torch.zeros(gates, hidden[-1], device=device), torch.zeros(gates, device=device)] if recurrent else []
    normalized = ins if layer_norm else ins[:1]
    mlp = MLP(
        weights,
        [torch.zeros(out, device=device) for out in outs],
        [torch.ones(width, device=device) for width in normalized],
        [torch.zeros(width, device=device) for width in normalized],
        activation,
        gru,
        new_input_norm(input_norm, (input_size,), device),
    )
    initialize(mlp, activation, head_gain)
    return mlp


@torch.no_grad()
def initialize(mlp: MLP, activation: str, head_gain: float) -> None:
    """Orthogonal weights: the activation's gain on hidden layers, 1 in a GRU, `head_gain` on the last."""
    matrices = mlp.matrices()
    gains = [hidden_gain(activation)] * (len(matrices) - 1) + [head_gain]
    if len(mlp.gru):
        gains[-2] = 1.0
        matrices = matrices + [mlp.gru[0]]
        gains = gains + [1.0]
    for matrix, gain in zip(matrices, gains):
        fresh = torch.empty(matrix.shape, device=matrix.device)
        matrix.copy_(nn.init.orthogonal_(fresh, gain))


def hidden_gain(activation: str) -> float:
    """Orthogonal gain of hidden layers with this activation."""
    return nn.init.calculate_gain("relu" if activation == "elu" else activation)


def _parameters(tensors: Sequence[Tensor]) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(tensor) for tensor in tensors])
