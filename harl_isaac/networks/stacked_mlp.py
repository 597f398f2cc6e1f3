"""Several MLPs of one depth in one block of memory: one batched product a layer for all, or one network at a time.

Network i is an ordinary module whose parameters are views of row i of the blocks, so that its own optimizer moves its
rows and nobody else's, and the blocks see every step at once. The first layer is stored [A, in, out] and the others
[A, out, in]: networks with fewer inputs or outputs than the widest then still own one contiguous piece.
"""

from typing import List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.networks.gru import gru_step
from harl_isaac.networks.mlp import ACTIVATIONS, EPS, MLP, layer_norm, layer_sizes
from harl_isaac.networks.running_norm import RunningNorm, new_running_norm

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
        running_norm: bool = False,
    ):
        self.inputs = list(inputs)
        self.outputs = list(outputs)
        self.rows = len(self.inputs)
        self.width = max(self.inputs)
        self.hidden_size = hidden[-1] if recurrent else 0
        self.activation_name = activation
        self.activation = ACTIVATIONS[activation]
        self._allocate(hidden, device)
        self.input_norm = new_running_norm((self.rows, self.width), device) if running_norm else None

    def _allocate(self, hidden: Sequence[int], device: torch.device) -> None:
        ins, outs = layer_sizes(self.width, hidden, max(self.outputs), self.hidden_size > 0)

        def block(*shape: int) -> Tensor:
            return torch.zeros((self.rows,) + shape, device=device)

        self.weights = [block(ins[0], outs[0])]
        self.weights += [block(out, width) for width, out in zip(ins[1:], outs[1:])]
        self.biases = [block(out) for out in outs]
        self.norm_weights = [block(width) + 1.0 for width in ins]
        self.norm_biases = [block(width) for width in ins]
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

    def views(self, i: int, blocks: Sequence[Tensor]) -> List[Tensor]:
        """Network i's part of tensors of the blocks' shapes, in its true widths."""
        parts = [block[i] for block in blocks]
        depth = len(self.weights)
        last = depth - 1
        parts[0] = parts[0][: self.inputs[i]]
        parts[last] = parts[last][: self.outputs[i]]
        parts[depth + last] = parts[depth + last][: self.outputs[i]]
        parts[2 * depth] = parts[2 * depth][: self.inputs[i]]
        parts[3 * depth] = parts[3 * depth][: self.inputs[i]]
        return parts

    def mlp(self, i: int) -> MLP:
        """Network i, whose parameters are views of the blocks."""
        parts = self.views(i, self.blocks())
        depth = len(self.weights)
        weights, biases, scales, shifts = (parts[k * depth : (k + 1) * depth] for k in range(4))
        norm = None if self.input_norm is None else self.input_norm.row(i, self.inputs[i])
        return MLP(weights, biases, scales, shifts, self.activation_name, parts[4 * depth :], norm)

    def folded_layers(self) -> Layers:
        """(weight [A, in, out], bias [A, 1, out]) of each layer with the LayerNorm in front of it folded in."""
        result = []
        for layer, weight in enumerate(self.weights):
            matrix = weight if layer == 0 else weight.transpose(1, 2)
            bias = torch.baddbmm(self.biases[layer][:, None], self.norm_biases[layer][:, None], matrix)
            result.append(((matrix * self.norm_weights[layer][..., None]).contiguous(), bias))
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
            if layer > 0:
                x = layer_norm(x)
            elif not standardized:
                x = self.standardized(x)
            x = torch.baddbmm(bias, x, weight)
            if hidden is not None and layer == last - 1:
                x = self._recurrent_step(x, hidden)
            elif layer < last:
                x = self.activation(x)
        return x

    def standardized(self, x: Tensor) -> Tensor:
        """Padded inputs [A, B, F] with mean 0 and deviation 1 over each network's true width, zero beyond it."""
        if self.input_norm is not None:
            x = RunningNorm.apply_to(x, self.input_norm.mean[:, None], self.input_norm.variance[:, None])
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
