"""Slow, literal versions of value factorization in float64, from Rashid et al. (2018): numbers and loops."""

import math
from itertools import product

import torch

from support import reference
from support import reference_off_policy as literal


def agent_row(actor, row):
    """A feed-forward agent's values of its choices at one observation."""
    return reference.mlp_row(reference.layers_of(actor.net), row, "relu")


def mixed(mixer, values, state):
    """The mixer's joint value of one row: by the sum, or by weights that networks of the state give."""
    if not list(mixer.parameters()):
        return sum(values)
    if mixer.state_norm:
        mean = sum(state) / len(state)
        deviation = math.sqrt(sum((s - mean) ** 2 for s in state) / len(state) + 1e-5)
        state = [(s - mean) / deviation for s in state]
    size = mixer.first_bias.out_features
    first = [abs(w) for w in literal.row_of(mixer.first_weight, state)]
    biases = [
        sum(w * s for w, s in zip(weights, state)) + b
        for weights, b in zip(mixer.first_bias.weight.tolist(), mixer.first_bias.bias.tolist())
    ]
    last = [abs(w) for w in literal.row_of(mixer.last_weight, state)]
    total = literal.row_of(mixer.last_bias, state)[0]
    for unit in range(size):
        x = sum(value * first[agent * size + unit] for agent, value in enumerate(values)) + biases[unit]
        total += last[unit] * (x if x > 0.0 else math.exp(x) - 1.0)
    return total


def allowed(space_sizes, mask):
    """Whether each combination of an agent's heads of these sizes is allowed by its mask, a list of bools."""
    if mask is None:
        return [True] * math.prod(space_sizes)
    starts = [sum(space_sizes[:k]) for k in range(len(space_sizes))]
    choices = product(*[range(size) for size in space_sizes])
    return [all(mask[start + c] for start, c in zip(starts, choice)) for choice in choices]


def best(values, free):
    """The place of the highest value among those that are free."""
    return max((k for k in range(len(values)) if free[k]), key=lambda k: values[k])


class PlainMixer(torch.nn.Module):
    """QMIX's mixer with numbers of its own, in the production mixer's order."""

    def __init__(self, mixer):
        super().__init__()
        self.state_norm = mixer.state_norm
        self.first_weight = literal.PlainNet(mixer.first_weight)
        self.first_bias = literal.PlainNet(mixer.first_bias)
        self.last_weight = literal.PlainNet(mixer.last_weight)
        self.last_bias = literal.PlainNet(mixer.last_bias)

    def forward(self, values, state):
        """Joint values [B] of the agents' values A x [B]."""
        if self.state_norm:
            centered = state - state.mean(1, keepdim=True)
            state = centered / (centered.square().mean(1, keepdim=True) + 1e-5).sqrt()
        hidden = self.first_bias(state)
        weights = self.first_weight(state).chunk(len(values), 1)
        for value, weight in zip(values, weights):
            hidden = hidden + value[:, None] * weight.abs()
        hidden = torch.where(hidden > 0.0, hidden, hidden.clamp(max=0.0).exp() - 1.0)
        return (hidden * self.last_weight(state).abs()).sum(1) + self.last_bias(state)[:, 0]


class PlainSum(torch.nn.Module):
    """VDN's."""

    def forward(self, values, state):
        return sum(values)
