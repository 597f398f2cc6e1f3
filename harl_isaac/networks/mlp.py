"""The network of the on-policy algorithms: LayerNorm on the input, then [Linear, activation, LayerNorm] for each hidden
layer, then a Linear head; orthogonal weights, zero biases (HARL, Appendix K and reference implementation)."""

from typing import List, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

ACTIVATIONS = {"relu": torch.relu, "tanh": torch.tanh, "elu": F.elu, "selu": F.selu}
EPS = 1e-5  # LayerNorm's


class MLP(nn.Module):
    """Maps [..., in] to [..., out] with the given tensors as its parameters, which may be views of a larger block.

    The first weight is [in, out], the others are [out, in]; `norm_*` are the LayerNorm in front of each Linear. A
    LayerNorm's scale and shift are folded into the Linear behind it: the same function, but their gradients then come
    from the weight's, and no gradient is computed for the observations.
    """

    def __init__(self, weights: Sequence[Tensor], biases: Sequence[Tensor], norm_weights: Sequence[Tensor],
                 norm_biases: Sequence[Tensor], activation: str):
        super().__init__()
        self.weights, self.biases = _parameters(weights), _parameters(biases)
        self.norm_weights, self.norm_biases = _parameters(norm_weights), _parameters(norm_biases)
        self.activation = ACTIVATIONS[activation]

    def forward(self, x: Tensor) -> Tensor:
        last = len(self.weights) - 1
        for layer, matrix in enumerate(self.matrices()):
            scale, shift = self.norm_weights[layer], self.norm_biases[layer]
            weight, bias = matrix * scale, torch.addmv(self.biases[layer], matrix, shift)
            x = F.linear(F.layer_norm(x, scale.shape, eps=EPS), weight, bias)
            if layer < last:
                x = self.activation(x)
        return x

    def matrices(self) -> List[Tensor]:
        """All weights as [out, in]."""
        return [self.weights[0].t()] + list(self.weights[1:])


def new_mlp(input_size: int, hidden: Sequence[int], output_size: int, activation: str, head_gain: float,
            device: torch.device) -> MLP:
    """An initialised MLP with memory of its own."""
    ins, outs = [input_size, *hidden], [*hidden, output_size]
    weights = [torch.zeros(ins[0], outs[0], device=device)]
    weights += [torch.zeros(out, width, device=device) for width, out in zip(ins[1:], outs[1:])]
    mlp = MLP(weights, [torch.zeros(out, device=device) for out in outs],
              [torch.ones(width, device=device) for width in ins],
              [torch.zeros(width, device=device) for width in ins], activation)
    initialise(mlp, activation, head_gain)
    return mlp


@torch.no_grad()
def initialise(mlp: MLP, activation: str, head_gain: float) -> None:
    """Orthogonal weights, with the activation's gain on hidden layers and `head_gain` on the last."""
    hidden_gain = nn.init.calculate_gain("relu" if activation == "elu" else activation)
    matrices = mlp.matrices()
    for layer, matrix in enumerate(matrices):
        fresh = torch.empty(matrix.shape, device=matrix.device)
        matrix.copy_(nn.init.orthogonal_(fresh, head_gain if layer == len(matrices) - 1 else hidden_gain))


def _parameters(tensors: Sequence[Tensor]) -> nn.ParameterList:
    return nn.ParameterList([nn.Parameter(tensor) for tensor in tensors])
