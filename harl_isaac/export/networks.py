"""Agents' networks cut out of a joint policy: raw observations [B, O] and recurrent state [B, H] to output [B, K]."""

from typing import Any, List, NamedTuple, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from harl_isaac.env import Box, EnvSpec, MultiDiscrete
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.distributions import distribution_for, std_of
from harl_isaac.networks.gru import gru_step
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.networks.mlp import layer_norm
from harl_isaac.networks.off_policy_nets import OffPolicyActors
from harl_isaac.networks.running_norm import EPS, LIMIT, RunningNorm

JOINT = "joint"  # name of the part that acts for all agents at once


class Part(NamedTuple):
    """A network that can act on its own: an agent's, or that of all agents together."""

    name: str
    agents: List[int]  # for which it acts
    network: nn.Module  # (obs [B, O], hidden [B, H] or None) -> (output [B, K], next hidden or None)
    head: Any  # means of the output: a distribution (networks/distributions.py) or a head (networks/heads.py)
    std: Optional[Tensor]  # [W] of a normal whose deviation is learned apart, with bounds at -1 and 1


class Standardize(nn.Module):
    """Running moments as RunningNorm applies them; rl_games' are the same, with the same limit."""

    def __init__(self, mean: Tensor, variance: Tensor):
        super().__init__()
        self.register_buffer("mean", mean.float())
        self.register_buffer("scale", (variance + EPS).rsqrt().float())

    def forward(self, x: Tensor) -> Tensor:
        """Standardized x [B, F], within +-LIMIT."""
        return ((x - self.mean) * self.scale).clamp(-LIMIT, LIMIT)


class StackedNetwork(nn.Module):
    """One agent's layers of StackedActors with the LayerNorms folded in, and what stands before them."""

    def __init__(self, actors: StackedActors, i: int, obs_size: int):
        super().__init__()
        row = 0 if actors.shared else i
        width = actors.spec.obs_sizes[i]
        head = actors.distributions[i].head_size
        layers = [(weight[row].detach(), bias[row, 0].detach()) for weight, bias in actors.fused_layers()]
        self.activation = actors.networks.activation
        self.hidden_size = actors.hidden_size
        self.weights = nn.ParameterList()
        self.biases = nn.ParameterList()
        for k, (weight, bias) in enumerate(layers):
            rows = width if k == 0 else weight.shape[0]
            columns = head if k == len(layers) - 1 else weight.shape[1]
            self.weights.append(_frozen(weight[:rows, :columns].t()))
            self.biases.append(_frozen(bias[:columns]))
        self.gru = nn.ParameterList([_frozen(block[row]) for block in actors.networks.gru])
        identity = None if actors.ids is None else actors.ids[i]
        behind = torch.zeros(width - obs_size, device=actors.spec.device)
        if identity is not None:
            behind[-len(identity) :] = identity
        self.register_buffer("behind", behind)  # of a shared network: zeros, then the agent's one-hot number
        norm = None if actors.input_norm is None else actors.input_norm.row(row, width)
        self.norm = Standardize(norm.mean, norm.variance) if isinstance(norm, RunningNorm) else norm
        self.layer_norm = actors.networks.layer_norm

    def forward(self, obs: Tensor, hidden: Optional[Tensor] = None) -> Tuple[Tensor, Optional[Tensor]]:
        """The output [B, K] and the next state."""
        x = _with_constants(obs, self.behind)
        last = len(self.weights) - 1
        for k, (weight, bias) in enumerate(zip(self.weights, self.biases)):
            if k == 0 and self.norm is not None:
                x = self.norm(x)
            elif k == 0 or self.layer_norm:
                x = layer_norm(x)
            x = F.linear(x, weight, bias)
            if hidden is not None and k == last - 1:
                hidden = gru_step(x, F.linear(hidden, *self.gru), hidden)
                x = hidden
            elif k < last:
                x = self.activation(x)
        return x, hidden


class OffPolicyNetwork(nn.Module):
    """One agent's network of OffPolicyActors."""

    hidden_size = 0

    def __init__(self, network: nn.Module):
        super().__init__()
        self.network = network

    def forward(self, obs: Tensor, hidden: Optional[Tensor] = None) -> Tuple[Tensor, Optional[Tensor]]:
        """The output [B, K]."""
        return self.network(obs), None


class RlGamesNetwork(nn.Module):
    """The policy of an rl_games model without its value, with the running mean before it."""

    hidden_size = 0

    def __init__(self, model: Any, identity: Optional[Tensor], continuous: bool, device: torch.device):
        super().__init__()
        network = model.a2c_network
        self.register_buffer("behind", torch.zeros(0, device=device) if identity is None else identity)
        self.norm = None
        if model.normalize_input:
            moments = model.running_mean_std
            self.norm = Standardize(moments.running_mean, moments.running_var)
        self.mlp = network.actor_mlp
        last = network.mu if continuous else network.logits
        self.last = last if isinstance(last, nn.ModuleList) else nn.ModuleList([last])

    def forward(self, obs: Tensor, hidden: Optional[Tensor] = None) -> Tuple[Tensor, Optional[Tensor]]:
        """The output [B, K]: means, or logits of all heads in a row."""
        x = _with_constants(obs, self.behind)
        if self.norm is not None:
            x = self.norm(x)
        x = self.mlp(x)
        return torch.cat([layer(x) for layer in self.last], 1), None


def parts_of(actors: JointPolicy, spec: EnvSpec) -> List[Part]:
    """The networks of a joint policy, one for each agent or one for all. Raises ValueError for unknown policies."""
    if isinstance(actors, StackedActors):
        return [_stacked_part(actors, spec, i) for i in range(spec.num_agents)]
    if isinstance(actors, OffPolicyActors):
        return [
            Part(name, [i], OffPolicyNetwork(actors.agent(i)), actors.heads[i], None)
            for i, name in enumerate(spec.agents)
        ]
    if hasattr(actors, "rows") and hasattr(actors, "model"):  # RlGamesPolicy, whose package may be missing here
        return _rl_games_parts(actors, spec)
    raise ValueError(
        f"policies of {type(actors).__name__} are not exported; those of StackedActors and OffPolicyActors are "
        "(harl_isaac/networks/)"
    )


def _stacked_part(actors: StackedActors, spec: EnvSpec, i: int) -> Part:
    distribution: Any = actors.distributions[i]
    std = None
    if isinstance(spec.actions[i], Box):
        row = 0 if actors.shared else i
        std = std_of(actors.log_std[row, : distribution.width], distribution.max_std).detach().clone()
    return Part(spec.agents[i], [i], StackedNetwork(actors, i, spec.obs_sizes[i]), distribution, std)


def _rl_games_parts(actors: Any, spec: EnvSpec) -> List[Part]:
    rows = actors.rows
    actors.fused_layers()  # ends the counting of observations
    std = actors.model.a2c_network.sigma.detach().exp() if rows.continuous else None

    def part(name: str, agents: List[int], identity: Optional[Tensor]) -> Part:
        widths = [space.size for space in rows.spaces if isinstance(space, Box)]
        space = Box(sum(widths)) if rows.continuous else MultiDiscrete(rows.heads)
        network = RlGamesNetwork(actors.model, identity, rows.continuous, spec.device)
        return Part(name, agents, network, distribution_for(space), std)

    if not rows.shared:
        return [part(JOINT, list(range(spec.num_agents)), None)]
    return [part(name, [i], None if rows.ids is None else rows.ids[i]) for i, name in enumerate(spec.agents)]


def _frozen(value: Tensor) -> nn.Parameter:
    return nn.Parameter(value.detach().clone().contiguous(), requires_grad=False)


def _with_constants(obs: Tensor, behind: Tensor) -> Tensor:
    """Observations [B, O] with the same numbers [N] behind each."""
    if not behind.numel():
        return obs
    return torch.cat((obs, behind.expand(obs.shape[0], -1)), 1)
