"""Slow, literal versions of the off-policy algorithms in float64, from the pseudocode of Zhong et al. (2024),
Appendix G: numbers and loops for what is fitted to, one hand-written chain for the order in which agents are
updated.
"""

import math

import torch

from harl_isaac.buffers.replay import explore
from support import reference


def scrambled(cfg, spec):
    """A learner of these settings whose networks and targets all differ."""
    torch.manual_seed(0)
    learner = cfg.learner(spec, 0)
    for place, module in enumerate((learner.actors, learner.critic, *[network for network, _ in learner.targets])):
        reference.scramble(module, seed=place)
    return learner


def parameters(module):
    """Copies of a module's parameters as they are."""
    return [p.detach().clone() for p in module.parameters()]


def moved(before, module):
    """Whether any of a module's parameters is another than `before`."""
    return any(not torch.equal(a, b) for a, b in zip(before, module.parameters()))


def filled(learner, steps=12, seed=0):
    """The learner's replay with noise in it, and actions drawn by its policies."""
    env = reference.NoiseEnv(learner.spec, seed)
    step = env.step(None)
    explore(env, lambda step: learner.actors.explore(*learner.packer(step)), learner.replay, step, steps)
    return learner


def row_of(net, row, activation=lambda x: max(x, 0.0), last_activation=None):
    """One row of numbers through (LayerNorm,) Linear, activation, ..., Linear."""
    for place, (norm, layer) in enumerate(zip(net.norms, net.layers)):
        apply = last_activation if last_activation and place == len(net.layers) - 1 else activation
        row = [apply(x) for x in row] if place else row
        row = standardized(row, norm) if isinstance(norm, torch.nn.LayerNorm) else row
        weights = layer.weight.tolist()
        biases = layer.bias.tolist()
        row = [sum(w * x for w, x in zip(each, row)) + b for each, b in zip(weights, biases)]
    return row


def standardized(row, norm):
    """Scale and shift of a row with mean 0 and variance 1."""
    mean = sum(row) / len(row)
    deviation = math.sqrt(sum((x - mean) ** 2 for x in row) / len(row) + 1e-5)
    return [
        scale * (x - mean) / deviation + shift for x, scale, shift in zip(row, norm.weight.tolist(), norm.bias.tolist())
    ]


class PlainNet(torch.nn.Module):
    """A network with numbers of its own, started from a production one's, in the same order."""

    def __init__(self, net):
        super().__init__()
        self.numbers = torch.nn.ParameterList([p.detach().double().clone() for p in net.parameters()])

    def forward(self, x):
        pairs = list(zip(self.numbers[::2], self.numbers[1::2]))
        for place, (weight, bias) in enumerate(pairs):
            x = x.clamp(min=0.0) if place else x
            x = x @ weight.t() + bias
        return x


def followed(target, network, tau):
    """The target's numbers after one move towards the network's."""
    return [(1.0 - tau) * old + tau * new for old, new in zip(target, network)]


def same(net, numbers, **tolerance):
    for mine, theirs in zip(net.parameters(), numbers):
        torch.testing.assert_close(mine, theirs, **(tolerance or {"rtol": 1e-8, "atol": 1e-11}))
