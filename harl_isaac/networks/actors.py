"""All agents' policies in one block of memory: acting is one batched product a layer, updating is an agent at a time.

Agent i is an ordinary module whose parameters are views of row i of the stack, so that its own optimiser moves its rows
and nobody else's, and the stack sees every update at once. The first layer is stored [A, in, out] and the others
[A, out, in]: agents with fewer inputs or outputs than the widest then still own one contiguous piece.
"""

from typing import Optional, Sequence, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.env import Box, EnvSpec, mask_width
from harl_isaac.networks.distributions import STD_X, distribution_for
from harl_isaac.networks.mlp import ACTIVATIONS, EPS, MLP, initialise


class Actor(nn.Module):
    """Agent i's policy: an MLP over views of the stack, and the distribution of its action space."""

    def __init__(self, stack: "StackedActors", i: int, activation: str):
        super().__init__()
        space = stack.spec.actions[i]
        self.distribution = stack.distributions[i]
        obs, head = stack.spec.obs_sizes[i], self.distribution.head_size
        weights, biases = [block[i] for block in stack.weights], [block[i] for block in stack.biases]
        scales, shifts = [block[i] for block in stack.norm_weights], [block[i] for block in stack.norm_biases]
        weights[0], scales[0], shifts[0] = weights[0][:obs], scales[0][:obs], shifts[0][:obs]
        weights[-1], biases[-1] = weights[-1][:head], biases[-1][:head]
        self.net = MLP(weights, biases, scales, shifts, activation)
        self.log_std = nn.Parameter(stack.log_std[i, :space.size]) if isinstance(space, Box) else None

    def evaluate(self, obs: Tensor, action: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """Log-probability and entropy [B] of actions [B, W_i] at observations [B, O_i]."""
        head = self.net(obs)
        log_prob = self.distribution.log_prob(head, self.log_std, mask, action)
        return log_prob, self.distribution.entropy(head, self.log_std, mask)


class StackedActors(nn.Module):
    """The joint policy. `agents[i]` is agent i's module; `sample` and `mode` act for all at once."""

    def __init__(self, spec: EnvSpec, hidden: Sequence[int], activation: str, head_gain: float):
        super().__init__()
        self.spec, self.activation = spec, ACTIVATIONS[activation]
        self.distributions = [distribution_for(space) for space in spec.actions]
        self.obs_size = max(spec.obs_sizes)
        self.action_width = max(distribution.width for distribution in self.distributions)
        self._allocate(hidden)
        self.agents = nn.ModuleList([Actor(self, i, activation) for i in range(spec.num_agents)])
        for actor in self.agents:
            initialise(actor.net, activation, head_gain)
        self.groups = _alike(spec)

    def sample(self, obs: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """Actions [E, A, W] (zero beyond an agent's width) and log-probabilities [E, A] at padded obs [E, A, O]."""
        return self._act(obs, mask, lambda kind, head, log_std, allowed: kind.sample(head, log_std, allowed))

    def mode(self, obs: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """Likeliest actions [E, A, W]."""
        def likeliest(kind, head, log_std, allowed):
            action = kind.mode(head, allowed)
            return action, action[..., 0]

        return self._act(obs, mask, likeliest)[0]

    def heads(self, obs: Tensor) -> Tensor:
        """Every agent's head, padded: [E, A, O] -> [E, A, H]."""
        x = obs.transpose(0, 1)  # [A, E, .]
        for layer, weight in enumerate(self.weights):
            x = self._normalise(x, layer)
            x = torch.baddbmm(self.biases[layer][:, None], x, weight if layer == 0 else weight.transpose(1, 2))
            if layer + 1 < len(self.weights):
                x = self.activation(x)
        return x.transpose(0, 1)

    def _act(self, obs, mask, choose) -> Tuple[Tensor, Tensor]:
        heads = self.heads(obs)
        action = heads.new_zeros(heads.shape[:2] + (self.action_width,))
        log_prob = heads.new_zeros(heads.shape[:2])
        for members, places in self.groups:
            kind, space = self.distributions[members[0]], self.spec.actions[members[0]]
            head = heads[:, places, :kind.head_size]
            allowed = None if mask is None or not mask_width(space) else mask[:, places, :mask_width(space)]
            chosen, chosen_log_prob = choose(kind, head, self.log_std[places, :kind.width], allowed)
            action[:, places, :kind.width] = chosen
            log_prob[:, places] = chosen_log_prob
        return action, log_prob

    def _normalise(self, x: Tensor, layer: int) -> Tensor:
        """LayerNorm of each agent over its true width: x [A, E, F]."""
        scale, shift = self.norm_weights[layer][:, None], self.norm_biases[layer][:, None]
        if layer > 0 or self._true_input is None:
            return torch.addcmul(shift, F.layer_norm(x, x.shape[-1:], eps=EPS), scale)
        true, width = self._true_input, self._true_width
        centred = (x - (x * true).sum(-1, keepdim=True) / width) * true
        variance = centred.square().sum(-1, keepdim=True) / width
        return torch.addcmul(shift, centred * (variance + EPS).rsqrt(), scale) * true

    def _allocate(self, hidden: Sequence[int]) -> None:
        spec, agents, device = self.spec, self.spec.num_agents, self.spec.device
        head = max(distribution.head_size for distribution in self.distributions)
        ins, outs = [self.obs_size, *hidden], [*hidden, head]

        def block(*shape):
            return torch.zeros((agents,) + shape, device=device)

        # Plain tensors, not buffers: the agents' parameters are what is saved, and they share this memory.
        self.weights = [block(ins[0], outs[0])] + [block(out, width) for width, out in zip(ins[1:], outs[1:])]
        self.biases = [block(out) for out in outs]
        self.norm_weights = [block(width) + 1.0 for width in ins]
        self.norm_biases = [block(width) for width in ins]
        self.log_std = block(self.action_width) + STD_X
        sizes = torch.tensor(spec.obs_sizes, device=device)
        ragged = len(set(spec.obs_sizes)) > 1
        self._true_input = (torch.arange(ins[0], device=device) < sizes[:, None]).float()[:, None] if ragged else None
        self._true_width = sizes.float()[:, None, None]


def _alike(spec: EnvSpec):
    """Agents grouped by action space: [(members, their place in the agent axis: a slice if all, else an index)]."""
    groups = {}
    for i, space in enumerate(spec.actions):
        groups.setdefault(space, []).append(i)
    if len(groups) == 1:
        return [(list(range(spec.num_agents)), slice(None))]
    return [(members, torch.tensor(members, device=spec.device)) for members in groups.values()]
