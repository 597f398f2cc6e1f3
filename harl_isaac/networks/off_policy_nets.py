"""The networks of the off-policy algorithms: Linear and activation, as PyTorch initializes them, with a LayerNorm in front of
each Linear or without (HARL's reference implementation); all agents' policies at play, and critics of joint actions."""

from typing import Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.acting import Layers, group_by_action_space
from harl_isaac.env import EnvSpec, mask_width
from harl_isaac.networks.mlp import ACTIVATIONS


class FeedForward(nn.Module):
    """Maps [..., in] to [..., out]."""

    def __init__(
        self, inputs: int, hidden: Sequence[int], outputs: int, activation: str, layer_norm: bool, device: torch.device
    ):
        super().__init__()
        self.activation = ACTIVATIONS[activation]
        sizes = [inputs, *hidden, outputs]
        self.layers = nn.ModuleList([nn.Linear(width, out, device=device) for width, out in zip(sizes, sizes[1:])])
        self.norms = nn.ModuleList(
            [nn.LayerNorm(width, device=device) if layer_norm else nn.Identity() for width in sizes[:-1]]
        )

    def forward(self, x: Tensor) -> Tensor:
        for norm, layer in zip(self.norms, self.layers[:-1]):
            x = self.activation(layer(norm(x)))
        return self.layers[-1](self.norms[-1](x))


class OffPolicyActors(nn.Module):
    """The joint policy: a network for each agent, and in `kinds` what its output means (networks/behaviors.py)."""

    hidden_size = 0

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        activation: str,
        layer_norm: bool,
        kinds: Sequence,
        network=FeedForward,
    ):
        super().__init__()
        self.spec = spec
        self.kinds = list(kinds)
        self.activation = ACTIVATIONS[activation]
        self.folds = network is FeedForward and not layer_norm  # all agents' layers into one product each
        self.obs_size = max(spec.obs_sizes)
        self.action_width = max(kind.width for kind in kinds)
        self.agents = nn.ModuleList(
            [
                network(size, hidden, kind.head_size, activation, layer_norm, spec.device)
                for size, kind in zip(spec.obs_sizes, kinds)
            ]
        )
        self.groups = group_by_action_space(spec)

    def agent(self, i: int) -> nn.Module:
        """Agent i's network."""
        return self.agents[i]

    def empty_obs(self, *lead: int) -> Tensor:
        """Room for padded observations [*lead, A, O]."""
        return torch.zeros(lead + (self.spec.num_agents, self.obs_size), device=self.spec.device)

    @torch.no_grad()
    def fused_layers(self) -> Layers:
        """(weight [A, in, out], bias [A, 1, out]) of each layer, filled up with zeros: one batched product acts for all.

        For acting many times with the same parameters. Empty where other networks act one after the other.
        """
        result = []  # type: Layers
        if not self.folds:
            return result
        for each in zip(*[actor.layers for actor in self.agents]):
            width, out = [max(size) for size in zip(*[(layer.in_features, layer.out_features) for layer in each])]
            weights = [
                F.pad(layer.weight.t(), (0, out - layer.out_features, 0, width - layer.in_features)) for layer in each
            ]
            biases = [F.pad(layer.bias, (0, out - layer.out_features)) for layer in each]
            result.append((torch.stack(weights), torch.stack(biases)[:, None]))
        return result

    def heads(self, obs: Tensor, layers: Optional[Layers] = None) -> Tensor:
        """Every agent's output, padded: [E, A, O] -> [E, A, H]; `layers` are those of `fused_layers`."""
        layers = layers or self.fused_layers()
        if not layers:
            return self._heads_in_turn(obs)
        x = obs.transpose(0, 1)
        for place, (weight, bias) in enumerate(layers):
            x = torch.baddbmm(bias, x, weight)
            if place + 1 < len(layers):
                x = self.activation(x)
        return x.transpose(0, 1)

    def _heads_in_turn(self, obs: Tensor) -> Tensor:
        widest = max(kind.head_size for kind in self.kinds)
        each = [actor(obs[:, i, :size]) for i, (actor, size) in enumerate(zip(self.agents, self.spec.obs_sizes))]
        return torch.stack([F.pad(head, (0, widest - head.shape[1])) for head in each], 1)

    def mode(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
    ) -> Tensor:
        """The best actions [E, A, W] (zero beyond an agent's width) at padded obs [E, A, O]; nothing is remembered."""
        return self._act(self.heads(obs, layers), mask, lambda kind, head, allowed: kind.mode(head, allowed))

    def explore(self, obs: Tensor, mask: Optional[Tensor] = None, layers: Optional[Layers] = None) -> Tensor:
        """Actions [E, A, W] for collecting."""
        return self._act(self.heads(obs, layers), mask, lambda kind, head, allowed: kind.explore(head, allowed))

    def random(self, mask: Optional[Tensor] = None) -> Tensor:
        """Uniformly random actions [E, A, W]."""
        heads = torch.zeros(
            self.spec.num_envs,
            self.spec.num_agents,
            max(kind.head_size for kind in self.kinds),
            device=self.spec.device,
        )
        return self._act(heads, mask, lambda kind, head, allowed: kind.random(head, allowed))

    def _act(self, heads: Tensor, mask: Optional[Tensor], choose) -> Tensor:
        action = heads.new_zeros(heads.shape[:2] + (self.action_width,))
        for members, places in self.groups:
            kind = self.kinds[members[0]]
            choices = mask_width(self.spec.actions[members[0]])
            allowed = None if mask is None or not choices else mask[:, places, :choices]
            action[:, places, : kind.width] = choose(kind, heads[:, places, : kind.head_size], allowed)
        return action


class JointCritics(nn.Module):
    """`count` independent estimates of Q(s, a) from the state and all agents' actions side by side."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        values: int,
        activation: str,
        layer_norm: bool,
        device: torch.device,
        count: int,
    ):
        super().__init__()
        self.nets = nn.ModuleList(
            [FeedForward(inputs, hidden, values, activation, layer_norm, device) for _ in range(count)]
        )

    def forward(self, joint: Tensor) -> Tensor:
        """[B, S + all actions] -> [count, B, V]"""
        return torch.stack([net(joint) for net in self.nets])

    def first(self, joint: Tensor) -> Tensor:
        """The first estimate, [B, V]."""
        return self.nets[0](joint)
