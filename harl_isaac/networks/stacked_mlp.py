"""Several MLPs of one depth in one block of memory: one batched product a layer for all, or one network at a time.

Network i is an ordinary module whose parameters are views of row i of the blocks, so that its own optimizer moves its
rows and nobody else's, and the blocks see every step at once. The first layer is stored [A, in, out] and the others
[A, out, in]: networks with fewer inputs or outputs than the widest then still own one contiguous piece.
"""

from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.networks.gru import gru_step
from harl_isaac.networks.mlp import ACTIVATIONS, EPS, IN_PLACE, MLP, layer_norm, layer_sizes
from harl_isaac.networks.running_norm import new_input_norm

Layers = List[Tuple[Tensor, Tensor]]  # (weight [A, in, out], bias [A, 1, out]) of each layer


class StackedMLP:
    """A networks with `inputs` and `outputs` of their own and hidden layers in common; see MLP for each of them.

    The blocks are plain tensors: the networks' parameters, which share their memory, are what is saved.
    """

    def __init__(
        self,
        inputs: Sequence[int],
        hidden: Sequence[int],
        outputs: Sequence[int],
        activation: str,
        device: torch.device,
        recurrent: bool = False,
        input_norm: str = "layer",
        layer_norm: bool = True,
    ):
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.rows = len(self.inputs)
        self.width = max(self.inputs)
        self.hidden_size = hidden[-1] if recurrent else 0
        self.activation_name = activation
        self.activation = ACTIVATIONS[activation]
        self.activate = IN_PLACE[activation]
        self.layer_norm = layer_norm  # behind each hidden layer
        self.widest = max(hidden)
        self._allocate(hidden, device)
        self.input_norm = new_input_norm(input_norm, (self.rows, self.width), device)

    def _allocate(self, hidden: Sequence[int], device: torch.device) -> None:
        ins, outs = layer_sizes(self.width, hidden, max(self.outputs), self.hidden_size > 0)

        def block(*shape: int) -> Tensor:
            return torch.zeros((self.rows,) + shape, device=device)

        self.weights = [block(ins[0], outs[0])]
        self.weights += [block(out, width) for width, out in zip(ins[1:], outs[1:])]
        self.biases = [block(out) for out in outs]
        normalized = ins if self.layer_norm else ins[:1]
        self.norm_weights = [block(width) + 1.0 for width in normalized]
        self.norm_biases = [block(width) for width in normalized]
        gates = 3 * self.hidden_size
        self.gru = [block(gates, self.hidden_size), block(gates)] if gates else []
        widths = torch.tensor(self.inputs, device=device)
        self._true_input = None  # [A, 1, F] 1 within a network's width, where widths differ
        if len(set(self.inputs)) > 1:
            self._true_input = (torch.arange(self.width, device=device) < widths[:, None]).float()[:, None]
        self._true_width = widths.float()[:, None, None]

    def blocks(self) -> List[Tensor]:
        """All parameters of all networks, [A, ...] each."""
        return [*self.weights, *self.biases, *self.norm_weights, *self.norm_biases, *self.gru]

    def mlp(self, i: int) -> MLP:
        """Network i in its true widths, whose parameters are views of the blocks."""
        weights = [block[i] for block in self.weights]
        biases = [block[i] for block in self.biases]
        scales = [block[i] for block in self.norm_weights]
        shifts = [block[i] for block in self.norm_biases]
        weights[0] = weights[0][: self.inputs[i]]
        scales[0] = scales[0][: self.inputs[i]]
        shifts[0] = shifts[0][: self.inputs[i]]
        weights[-1] = weights[-1][: self.outputs[i]]
        biases[-1] = biases[-1][: self.outputs[i]]
        norm = None if self.input_norm is None else self.input_norm.row(i, self.inputs[i])
        return MLP(weights, biases, scales, shifts, self.activation_name, [block[i] for block in self.gru], norm)

    def folded_layers(self) -> Layers:
        """(weight [A, in, out], bias [A, 1, out]) of each layer with the LayerNorm in front of it folded in."""
        result = []
        for layer, weight in enumerate(self.weights):
            matrix = weight if layer == 0 else weight.transpose(1, 2)
            bias = self.biases[layer][:, None]
            if layer < len(self.norm_weights):  # else there is no LayerNorm here
                bias = torch.baddbmm(bias, self.norm_biases[layer][:, None], matrix)
                matrix = matrix * self.norm_weights[layer][..., None]
            result.append((matrix.contiguous(), bias))
        return result

    def run(
        self,
        x: Tensor,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
        standardized: bool = False,
    ) -> Tensor:
        """Outputs [A, B, H] of padded inputs [A, B, F], padded.

        Of recurrent networks `hidden` [A, B, H] is replaced in place by the next state; `layers` are those of
        `folded_layers`; `standardized` says that x has been standardized before.
        """
        last = len(self.weights) - 1
        for layer, (weight, bias) in enumerate(layers or self.folded_layers()):
            if layer > 0 and self.layer_norm:
                x = layer_norm(x)
            elif layer == 0 and not standardized:
                x = self.standardized(x)
            x = torch.baddbmm(bias, x, weight)
            if hidden is not None and layer == last - 1:
                x = self._recurrent_step(x, hidden)
            elif layer < last:
                x = self.activate(x)
        return x

    def standardized(self, x: Tensor) -> Tensor:
        """Padded inputs [A, B, F] with mean 0 and deviation 1 over each network's true width, zero beyond it."""
        if self.input_norm is not None:
            x = self.input_norm.normalize_rows(x)
            return x if self._true_input is None else x * self._true_input
        if self._true_input is None:
            return layer_norm(x)
        mean = (x * self._true_input).sum(-1, keepdim=True) / self._true_width
        centered = (x - mean) * self._true_input
        variance = centered.square().sum(-1, keepdim=True) / self._true_width
        return centered * (variance + EPS).rsqrt()

    def _recurrent_step(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """The next state [A, B, H], also written to `hidden`, from the GRU's inputs [A, B, 3H]."""
        weight, bias = self.gru
        after = gru_step(inputs, torch.baddbmm(bias[:, None], hidden, weight.transpose(1, 2)), hidden)
        hidden.copy_(after)
        return after
