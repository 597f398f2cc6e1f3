"""All agents' policies in one block of memory: acting is one batched product a layer, updating is an agent at a time.

Agent i is an ordinary module whose parameters are views of row i of the stack, so that its own optimizer moves its rows
and nobody else's, and the stack sees every update at once. The first layer is stored [A, in, out] and the others
[A, out, in]: agents with fewer inputs or outputs than the widest then still own one contiguous piece. With parameter
sharing the stack has one row, which is every agent's, and an agent's place may be appended to what it sees.
"""

from dataclasses import replace
from typing import Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from harl_isaac.acting import Layers, group_by_action_space
from harl_isaac.env import Box, EnvSpec, mask_width
from harl_isaac.networks.distributions import MAX_STD, STD_X, distribution_for
from harl_isaac.networks.gru import SequenceStart, gru_step
from harl_isaac.networks.mlp import ACTIVATIONS, EPS, MLP, initialize, layer_norm, layer_sizes
from harl_isaac.networks.running_norm import RunningNorm, new_running_norm


class Actor(nn.Module):
    """One policy: an MLP over views of a row of the stack, and the distribution of its agent's action space."""

    def __init__(self, stack: "StackedActors", i: int, activation: str):
        super().__init__()
        space = stack.spec.actions[i]
        self.distribution = stack.distributions[i]
        obs = stack.spec.obs_sizes[i]
        head = self.distribution.head_size
        weights = [block[i] for block in stack.weights]
        biases = [block[i] for block in stack.biases]
        scales = [block[i] for block in stack.norm_weights]
        shifts = [block[i] for block in stack.norm_biases]
        weights[0] = weights[0][:obs]
        scales[0] = scales[0][:obs]
        shifts[0] = shifts[0][:obs]
        weights[-1] = weights[-1][:head]
        biases[-1] = biases[-1][:head]
        norm = None if stack.input_norm is None else stack.input_norm.row(i, obs)
        self.net = MLP(weights, biases, scales, shifts, activation, [block[i] for block in stack.gru], norm)
        self.log_std = nn.Parameter(stack.log_std[i, : space.size]) if isinstance(space, Box) else None
        self.log_prob = self.distribution.log_probs if stack.per_dimension else self.distribution.log_prob

    def head(self, obs: Tensor, memory: Optional[SequenceStart] = None) -> Tensor:
        """What the distribution is made of, [B, H] at observations [B, O_i]; [N, L, H] of sequences with a memory."""
        return self.net(obs, memory)

    def evaluate_actions(
        self, obs: Tensor, action: Tensor, mask: Optional[Tensor] = None, memory: Optional[SequenceStart] = None
    ) -> Tuple[Tensor, Tensor]:
        """Log-probability and entropy [B] of actions [B, W_i] at observations [B, O_i]; with a memory [N, L, ...].

        With action_aggregation=mean the log-probability is of each dimension, [..., W_i].
        """
        return self.log_prob_and_entropy(self.head(obs, memory), action, mask)

    def log_prob_and_entropy(self, head: Tensor, action: Tensor, mask: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """`evaluate` from the head."""
        log_prob = self.log_prob(head, self.log_std, mask, action)
        return log_prob, self.distribution.entropy(head, self.log_std, mask)


class StackedActors(nn.Module):
    """The joint policy. `agent(i)` is agent i's module; `sample` and `mode` act for all at once.

    `spec` is the environment's with the widths that the networks see.
    """

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        activation: str,
        head_gain: float,
        recurrent: bool = False,
        shared: bool = False,
        with_id: bool = False,
        per_dimension: bool = False,
        max_std: float = MAX_STD,
        running_norm: bool = False,
    ):
        super().__init__()
        self.ids = torch.eye(spec.num_agents, device=spec.device) if shared and with_id else None
        self.spec = _shared_spec(spec, with_id) if shared else spec
        self.shared = shared
        self.per_dimension = per_dimension
        self.activation = ACTIVATIONS[activation]
        self.distributions = [distribution_for(space, max_std) for space in spec.actions]
        self.obs_size = max(self.spec.obs_sizes)
        self.action_width = max(distribution.width for distribution in self.distributions)
        self.hidden_size = hidden[-1] if recurrent else 0
        self._allocate(hidden, 1 if shared else spec.num_agents)
        self.input_norm = new_running_norm((self.rows, self.obs_size), spec.device) if running_norm else None
        self.agents = nn.ModuleList([Actor(self, i, activation) for i in range(self.rows)])
        for actor in self.agents:
            initialize(actor.net, activation, head_gain)
        self.groups = group_by_action_space(spec)

    def agent(self, i: int) -> Actor:
        """Agent i's policy: everybody's if it is shared."""
        return self.agents[0 if self.shared else i]

    def take_in(self, obs: Tensor, alive: Tensor) -> None:
        """Let the running moments, if there are any, learn what was seen: padded obs [T, E, A, O], alive [T, E, A]."""
        if self.input_norm is not None:
            self.input_norm.take_in(obs.reshape(-1, self.rows, self.obs_size), alive.reshape(-1, self.rows))

    def empty_obs(self, *lead: int) -> Tensor:
        """Room for padded observations [*lead, A, O]: zeros, and the agents' places where a shared policy sees them."""
        agents = self.spec.num_agents
        obs = torch.zeros(lead + (agents, self.obs_size), device=self.spec.device)
        if self.ids is not None:
            obs[..., -agents:] = self.ids
        return obs

    def fused_layers(self) -> Layers:
        """(weight [A, in, out], bias [A, 1, out]) of each layer with the LayerNorm in front of it folded in.

        For acting many times with the same parameters.
        """
        result = []
        for layer, weight in enumerate(self.weights):
            matrix = weight if layer == 0 else weight.transpose(1, 2)
            bias = torch.baddbmm(self.biases[layer][:, None], self.norm_biases[layer][:, None], matrix)
            result.append(((matrix * self.norm_weights[layer][..., None]).contiguous(), bias))
        return result

    def sample(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
    ) -> Tuple[Tensor, Tensor]:
        """Actions [E, A, W] (zero beyond an agent's width) and log-probabilities [E, A] at padded obs [E, A, O].

        A recurrent policy's state `hidden` [E, A, H] is replaced in place by the next one; `layers` are those of `fused_layers`.
        """
        heads = self.heads(obs, hidden, layers)
        if not self.per_dimension:
            return self._act(heads, mask, lambda kind, head, log_std, allowed: kind.sample(head, log_std, allowed))

        def sampled(kind, head, log_std, allowed):
            action = kind.sample(head, log_std, allowed)[0]
            return action, kind.log_probs(head, log_std, allowed, action)

        return self._act(heads, mask, sampled)

    def mode(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
    ) -> Tensor:
        """Likeliest actions [E, A, W]; `hidden` and `layers` as in `sample`."""

        def likeliest(kind, head, log_std, allowed):
            action = kind.mode(head, allowed)
            return action, action if self.per_dimension else action[..., 0]

        return self._act(self.heads(obs, hidden, layers), mask, likeliest)[0]

    def heads(self, obs: Tensor, hidden: Optional[Tensor] = None, layers: Optional[Layers] = None) -> Tensor:
        """Every agent's head, padded: [E, A, O] -> [E, A, H]; `hidden` and `layers` as in `sample`."""
        last = len(self.weights) - 1
        shape = (self.spec.num_agents, obs.shape[0], -1)
        x = obs.transpose(0, 1).reshape(self.rows, -1, self.obs_size)  # [A, E, .] or, with one row for all, [1, A E, .]
        for layer, (weight, bias) in enumerate(layers or self.fused_layers()):
            x = torch.baddbmm(bias, self._normalize(x, layer), weight)
            if hidden is not None and layer == last - 1:
                x = self._remember(x, hidden)
            elif layer < last:
                x = self.activation(x)
        return x.reshape(shape).transpose(0, 1)

    def _remember(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        weight, bias = self.gru
        before = hidden.transpose(0, 1).reshape(self.rows, -1, self.hidden_size)
        after = gru_step(inputs, torch.baddbmm(bias[:, None], before, weight.transpose(1, 2)), before)
        hidden.copy_(after.reshape(self.spec.num_agents, -1, self.hidden_size).transpose(0, 1))
        return after

    def _act(self, heads, mask, choose) -> Tuple[Tensor, Tensor]:
        log_stds = self.log_std.expand(self.spec.num_agents, -1)
        if len(self.groups) == 1:  # nothing to put together
            return choose(self.distributions[0], heads, log_stds, mask)
        action = heads.new_zeros(heads.shape[:2] + (self.action_width,))
        log_prob = heads.new_zeros(action.shape if self.per_dimension else heads.shape[:2])
        for members, places in self.groups:
            kind = self.distributions[members[0]]
            space = self.spec.actions[members[0]]
            head = heads[:, places, : kind.head_size]
            allowed = None if mask is None or not mask_width(space) else mask[:, places, : mask_width(space)]
            chosen, chosen_log_prob = choose(kind, head, log_stds[places, : kind.width], allowed)
            action[:, places, : kind.width] = chosen
            if self.per_dimension:
                log_prob[:, places, : kind.width] = chosen_log_prob
            else:
                log_prob[:, places] = chosen_log_prob
        return action, log_prob

    def _normalize(self, x: Tensor, layer: int) -> Tensor:
        """Mean 0 and deviation 1 of each agent's row over its true width: x [A, E, F]."""
        if layer == 0 and self.input_norm is not None:
            known = RunningNorm.apply_to(x, self.input_norm.mean[:, None], self.input_norm.variance[:, None])
            return known if self._true_input is None else known * self._true_input
        if layer > 0 or self._true_input is None:
            return layer_norm(x)
        true = self._true_input
        width = self._true_width
        centered = (x - (x * true).sum(-1, keepdim=True) / width) * true
        variance = centered.square().sum(-1, keepdim=True) / width
        return centered * (variance + EPS).rsqrt()

    def _allocate(self, hidden: Sequence[int], rows: int) -> None:
        spec = self.spec
        device = self.spec.device
        head = max(distribution.head_size for distribution in self.distributions)
        ins, outs = layer_sizes(self.obs_size, hidden, head, self.hidden_size > 0)

        def block(*shape):
            return torch.zeros((rows,) + shape, device=device)

        # Plain tensors, not buffers: the agents' parameters are what is saved, and they share this memory.
        self.rows = rows
        self.weights = [block(ins[0], outs[0])] + [block(out, width) for width, out in zip(ins[1:], outs[1:])]
        self.biases = [block(out) for out in outs]
        self.norm_weights = [block(width) + 1.0 for width in ins]
        self.norm_biases = [block(width) for width in ins]
        gates = 3 * self.hidden_size
        self.gru = [block(gates, self.hidden_size), block(gates)] if gates else []
        self.log_std = block(self.action_width) + STD_X
        sizes = torch.tensor(spec.obs_sizes, device=device)
        ragged = len(set(spec.obs_sizes)) > 1
        self._true_input = (torch.arange(ins[0], device=device) < sizes[:, None]).float()[:, None] if ragged else None
        self._true_width = sizes.float()[:, None, None]


def _shared_spec(spec: EnvSpec, with_id: bool) -> EnvSpec:
    """What one network for all sees: the widest observation, the others filled with zeros, and the agent's place.

    Raises ValueError where the agents' actions differ.
    """
    if len(set(spec.actions)) > 1:
        raise ValueError(
            "algo.share_param=true needs the same actions for every agent; {}".format(
                ", ".join("{} has {}".format(*pair) for pair in zip(spec.agents, spec.actions))
            )
        )
    width = max(spec.obs_sizes) + (spec.num_agents if with_id else 0)
    return replace(spec, obs_sizes=(width,) * spec.num_agents)
