"""The networks of the off-policy algorithms (HARL's reference implementation): actors, and critics of joint actions.

Linear and activation, as PyTorch initializes them, with a LayerNorm in front of each Linear or without.
"""

from functools import partial
from typing import Any, Callable, Optional, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.env import EnvSpec, mask_width
from harl_isaac.networks.joint_policy import Layers, group_by_action_space
from harl_isaac.networks.mlp import ACTIVATIONS, hidden_gain

# An agent's network, by (inputs, hidden, outputs, activation, layer_norm, device).
NetworkFactory = Callable[..., nn.Module]
HEAD_GAIN = 0.01  # orthogonal gain of a normalized network's last layer
SAME = "same"  # last_activation: that of the layers before


class FeedForward(nn.Module):
    """Maps [..., in] to [..., out]; the last hidden layer may have an activation of its own."""

    def __init__(
        self,
        inputs: int,
        hidden: Sequence[int],
        outputs: int,
        activation: str,
        layer_norm: bool,
        device: torch.device,
        last_activation: str = SAME,
    ):
        super().__init__()
        self.normalizes = layer_norm
        self.activations = [ACTIVATIONS[activation] for _ in hidden]
        if last_activation != SAME:
            self.activations[-1] = ACTIVATIONS[last_activation]
        sizes = [inputs, *hidden, outputs]
        self.layers = nn.ModuleList([nn.Linear(width, out, device=device) for width, out in zip(sizes, sizes[1:])])
        norms = [nn.LayerNorm(width, device=device) if layer_norm else nn.Identity() for width in sizes[:-1]]
        self.norms = nn.ModuleList(norms)

    def forward(self, x: Tensor) -> Tensor:
        """The output [..., out]."""
        for norm, layer, activation in zip(self.norms, self.layers, self.activations):
            x = activation(layer(norm(x)))
        return self.layers[-1](self.norms[-1](x))

    def after_first(self, x: Tensor) -> Tensor:
        """The output [..., out] from that of the first layer [..., H], of a network without LayerNorm."""
        for layer, activation in zip(self.layers[1:], self.activations):
            x = layer(activation(x))
        return x


def with_last_activation(name: str) -> NetworkFactory:
    """A FeedForward whose last hidden layer has this activation."""
    return partial(FeedForward, last_activation=name)


def normalized_network(
    inputs: int, hidden: Sequence[int], outputs: int, activation: str, layer_norm: bool, device: torch.device
) -> FeedForward:
    """A FeedForward as the on-policy algorithms' actors begin, with a LayerNorm in front of each Linear in any case.

    Weights are orthogonal, those of the last layer small, biases zero.
    """
    network = FeedForward(inputs, hidden, outputs, activation, True, device)
    for layer in network.layers:
        nn.init.orthogonal_(layer.weight, HEAD_GAIN if layer is network.layers[-1] else hidden_gain(activation))
        nn.init.zeros_(layer.bias)
    return network


class OffPolicyActors(nn.Module):
    """The joint policy: a network for each agent, and in `heads` what its output means (networks/heads.py).

    `networks` builds each agent's.
    """

    hidden_size = 0

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        activation: str,
        layer_norm: bool,
        heads: Sequence[Any],
        networks: Sequence[NetworkFactory],
    ):
        super().__init__()
        self.spec = spec
        self.heads = list(heads)
        self.obs_size = max(spec.obs_sizes)
        self.head_size = max(head.head_size for head in heads)
        self.action_width = max(head.width for head in heads)
        agents = []
        for size, head, network in zip(spec.obs_sizes, heads, networks):
            agents.append(network(size, hidden, head.head_size, activation, layer_norm, spec.device))
        self.agents = nn.ModuleList(agents)
        self.fuses = are_alike(agents)  # all agents' layers into one product each
        self.groups = group_by_action_space(spec)

    def agent(self, i: int) -> nn.Module:
        """Agent i's network."""
        return self.agents[i]

    def empty_obs(self, *lead: int) -> Tensor:
        """A new buffer for padded observations, [*lead, A, O]."""
        return torch.zeros(lead + (self.spec.num_agents, self.obs_size), device=self.spec.device)

    @torch.no_grad()
    def fused_layers(self) -> Layers:
        """The layers of all agents together, for acting many times with the same parameters; see `stacked_layers`."""
        return self.stacked_layers()

    def stacked_layers(self) -> Layers:
        """(weight [A, in, out], bias [A, 1, out]) of each layer, padded with zeros: one batched product acts for all.

        Gradients pass to the agents' own parameters. Empty where other networks act one after the other.
        """
        result: Layers = []
        if not self.fuses:
            return result
        for layers in zip(*[actor.layers for actor in self.agents]):  # the same layer of all agents
            width = max(layer.in_features for layer in layers)
            out = max(layer.out_features for layer in layers)
            weights = []
            biases = []
            for layer in layers:
                more_out = out - layer.out_features
                weights.append(F.pad(layer.weight.t(), (0, more_out, 0, width - layer.in_features)))
                biases.append(F.pad(layer.bias, (0, more_out)))
            result.append((torch.stack(weights), torch.stack(biases)[:, None]))
        return result

    def outputs(self, obs: Tensor, layers: Optional[Layers] = None) -> Tensor:
        """Every agent's output, padded: [E, A, O] -> [E, A, H]; `layers` are those of `fused_layers`."""
        layers = layers or self.fused_layers()
        if not layers:
            return self._outputs_one_by_one(obs)
        activations = self.agents[0].activations
        x = obs.transpose(0, 1)
        for number, (weight, bias) in enumerate(layers):
            x = torch.baddbmm(bias, x, weight)
            if number < len(activations):
                x = activations[number](x)
        return x.transpose(0, 1)

    def _outputs_one_by_one(self, obs: Tensor) -> Tensor:
        outputs = []
        for i, (actor, size) in enumerate(zip(self.agents, self.spec.obs_sizes)):
            output = actor(obs[:, i, :size])
            outputs.append(F.pad(output, (0, self.head_size - output.shape[1])))
        return torch.stack(outputs, 1)

    def mode(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
    ) -> Tensor:
        """Best actions [E, A, W] (zero beyond an agent's width) at padded obs [E, A, O]; `hidden` is not used."""
        return self._act(self.outputs(obs, layers), mask, lambda head, output, allowed: head.mode(output, allowed))

    def explore(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
    ) -> Tensor:
        """Exploring actions [E, A, W] at padded obs [E, A, O]; `hidden` is not used."""

        def choose(head: Any, output: Tensor, allowed: Optional[Tensor]) -> Tensor:
            return head.sample_exploration(output, allowed)

        return self._act(self.outputs(obs, layers), mask, choose)

    def random(self, mask: Optional[Tensor] = None) -> Tensor:
        """Uniformly random actions [E, A, W]."""
        spec = self.spec
        outputs = torch.zeros(spec.num_envs, spec.num_agents, self.head_size, device=spec.device)
        return self._act(outputs, mask, lambda head, output, allowed: head.random(output, allowed))

    def _act(self, outputs: Tensor, mask: Optional[Tensor], choose: Callable[..., Tensor]) -> Tensor:
        """Actions [E, A, W] by `choose(head, its outputs, its masks)` of each group of agents."""
        action = outputs.new_zeros(outputs.shape[:2] + (self.action_width,))
        for members, index in self.groups:
            head = self.heads[members[0]]
            choices = mask_width(self.spec.actions[members[0]])
            allowed = None if mask is None or not choices else mask[:, index, :choices]
            action[:, index, : head.width] = choose(head, outputs[:, index, : head.head_size], allowed)
        return action


def are_alike(networks: Sequence[nn.Module]) -> bool:
    """Whether all are FeedForward without LayerNorm and with the same activations."""
    plain = [each for each in networks if isinstance(each, FeedForward) and not each.normalizes]
    return len(plain) == len(networks) and all(each.activations == plain[0].activations for each in plain)


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
        """Values [count, B, V] of [B, S + all actions]."""
        return torch.stack([net(joint) for net in self.nets])

    def first(self, joint: Tensor) -> Tensor:
        """The first estimate, [B, V]."""
        return self.nets[0](joint)
