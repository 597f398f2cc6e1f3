"""All agents' policies in one block of memory: acting is one batched product a layer, updating is an agent at a time.

Agent i is an ordinary module whose parameters are views of row i of the stack, so that its own optimizer moves its rows
and nobody else's, and the stack sees every update at once. The first layer is stored [A, in, out] and the others
[A, out, in]: agents with fewer inputs or outputs than the widest then still own one contiguous piece. With parameter
sharing the stack has one row, which is every agent's, and an agent's number may be appended to its observation.
"""

from dataclasses import replace
from typing import Any, Callable, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from harl_isaac.env import Box, EnvSpec, mask_width
from harl_isaac.networks.distributions import MAX_STD, STD_X, distribution_for
from harl_isaac.networks.gru import SequenceStart, gru_step
from harl_isaac.networks.joint_policy import Layers, group_by_action_space
from harl_isaac.networks.mlp import ACTIVATIONS, EPS, MLP, initialize, layer_norm, layer_sizes
from harl_isaac.networks.running_norm import RunningNorm, new_running_norm

Choice = Tuple[Tensor, Tensor]  # actions [..., W], their log-probabilities [...]


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
        self.per_dimension = stack.per_dimension

    def head(self, obs: Tensor, sequence: Optional[SequenceStart] = None) -> Tensor:
        """The distribution's parameters [B, H] at observations [B, O_i]; [N, L, H] of sequences with their start."""
        return self.net(obs, sequence)

    def evaluate_actions(
        self, obs: Tensor, action: Tensor, mask: Optional[Tensor] = None, sequence: Optional[SequenceStart] = None
    ) -> Tuple[Tensor, Tensor]:
        """Log-probability and entropy [B] of actions [B, W_i] at observations [B, O_i]; [N, L, ...] of sequences.

        With action_aggregation=mean the log-probability is of each dimension, [..., W_i].
        """
        return self.log_prob_and_entropy(self.head(obs, sequence), action, mask)

    def log_prob_and_entropy(self, head: Tensor, action: Tensor, mask: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """Log-probability and entropy [B] of actions [B, W_i], from the network's head [B, H]."""
        distribution = self.distribution
        evaluate = distribution.log_probs if self.per_dimension else distribution.log_prob
        log_prob = evaluate(head, self.log_std, mask, action)
        return log_prob, self.distribution.entropy(head, self.log_std, mask)


class StackedActors(nn.Module):
    """The joint policy. `agent(i)` is agent i's module; `sample` and `mode` act for all at once.

    `spec` is the environment's with the widths of the networks' inputs. `distributions`, of one agent each, say what
    the networks' outputs mean, where they are not the usual ones of the action spaces.
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
        distributions: Optional[Sequence[Any]] = None,
    ):
        super().__init__()
        self.ids = torch.eye(spec.num_agents, device=spec.device) if shared and with_id else None
        self.spec = _shared_spec(spec, with_id) if shared else spec
        self.shared = shared
        self.per_dimension = per_dimension
        self.activation = ACTIVATIONS[activation]
        self.distributions = list(distributions or [distribution_for(space, max_std) for space in spec.actions])
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

    def update_input_norm(self, obs: Tensor, alive: Tensor) -> None:
        """Update the running moments of inputs, if there are any, by padded obs [T, E, A, O] with alive [T, E, A]."""
        if self.input_norm is not None:
            self.input_norm.update(obs.reshape(-1, self.rows, self.obs_size), alive.reshape(-1, self.rows))

    def empty_obs(self, *lead: int) -> Tensor:
        """A new buffer for padded observations, [*lead, A, O], with the agents' one-hot ids for a shared policy."""
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

        A recurrent policy's state `hidden` [E, A, H] is replaced in place by the next one; `layers` are those of
        `fused_layers`.
        """

        def choose(distribution: Any, head: Tensor, log_std: Tensor, allowed: Optional[Tensor]) -> Choice:
            action, log_prob = distribution.sample(head, log_std, allowed)
            if self.per_dimension:
                log_prob = distribution.log_probs(head, log_std, allowed, action)
            return action, log_prob

        return self._act(self.outputs(obs, hidden, layers), mask, choose)

    def mode(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
    ) -> Tensor:
        """Most likely actions [E, A, W]; `hidden` and `layers` as in `sample`."""

        def choose(distribution: Any, head: Tensor, log_std: Tensor, allowed: Optional[Tensor]) -> Choice:
            action = distribution.mode(head, allowed)
            return action, action if self.per_dimension else action[..., 0]  # the second is not used

        return self._act(self.outputs(obs, hidden, layers), mask, choose)[0]

    def outputs(self, obs: Tensor, hidden: Optional[Tensor] = None, layers: Optional[Layers] = None) -> Tensor:
        """Every agent's network output, padded: [E, A, O] -> [E, A, H]; `hidden` and `layers` as in `sample`."""
        last = len(self.weights) - 1
        shape = (self.spec.num_agents, obs.shape[0], -1)
        x = obs.transpose(0, 1).reshape(self.rows, -1, self.obs_size)  # [A, E, .] or, with one row for all, [1, A E, .]
        for layer, (weight, bias) in enumerate(layers or self.fused_layers()):
            x = torch.baddbmm(bias, self._normalize(x, layer), weight)
            if hidden is not None and layer == last - 1:
                x = self._recurrent_step(x, hidden)
            elif layer < last:
                x = self.activation(x)
        return x.reshape(shape).transpose(0, 1)

    def _recurrent_step(self, inputs: Tensor, hidden: Tensor) -> Tensor:
        """The next recurrent state [A, E, H], also written to `hidden` [E, A, H], from the GRU's inputs [A, E, 3H]."""
        weight, bias = self.gru
        before = hidden.transpose(0, 1).reshape(self.rows, -1, self.hidden_size)
        after = gru_step(inputs, torch.baddbmm(bias[:, None], before, weight.transpose(1, 2)), before)
        hidden.copy_(after.reshape(self.spec.num_agents, -1, self.hidden_size).transpose(0, 1))
        return after

    def _act(self, outputs: Tensor, mask: Optional[Tensor], choose: Callable[..., Choice]) -> Choice:
        """Actions and log-probabilities by `choose(distribution, head, log_std, mask)` of each group of agents."""
        log_stds = self.log_std.expand(self.spec.num_agents, -1)
        if len(self.groups) == 1:  # nothing to put together
            return choose(self.distributions[0], outputs, log_stds, mask)
        action = outputs.new_zeros(outputs.shape[:2] + (self.action_width,))
        log_prob = outputs.new_zeros(action.shape if self.per_dimension else outputs.shape[:2])
        for members, index in self.groups:
            distribution = self.distributions[members[0]]
            width = distribution.width
            choices = mask_width(self.spec.actions[members[0]])
            allowed = None if mask is None or not choices else mask[:, index, :choices]
            head = outputs[:, index, : distribution.head_size]
            chosen, chosen_log_prob = choose(distribution, head, log_stds[index, :width], allowed)
            action[:, index, :width] = chosen
            if self.per_dimension:
                log_prob[:, index, :width] = chosen_log_prob
            else:
                log_prob[:, index] = chosen_log_prob
        return action, log_prob

    def _normalize(self, x: Tensor, layer: int) -> Tensor:
        """Standardize each agent's rows x [A, E, F] over its true width."""
        if layer == 0 and self.input_norm is not None:
            x = RunningNorm.apply_to(x, self.input_norm.mean[:, None], self.input_norm.variance[:, None])
            return x if self._true_input is None else x * self._true_input
        if layer > 0 or self._true_input is None:
            return layer_norm(x)
        mean = (x * self._true_input).sum(-1, keepdim=True) / self._true_width
        centered = (x - mean) * self._true_input
        variance = centered.square().sum(-1, keepdim=True) / self._true_width
        return centered * (variance + EPS).rsqrt()

    def _allocate(self, hidden: Sequence[int], rows: int) -> None:
        spec = self.spec
        device = self.spec.device
        head = max(distribution.head_size for distribution in self.distributions)
        ins, outs = layer_sizes(self.obs_size, hidden, head, self.hidden_size > 0)

        def block(*shape: int) -> Tensor:
            return torch.zeros((rows,) + shape, device=device)

        # Plain tensors, not buffers: the agents' parameters are what is saved, and they share this memory.
        self.rows = rows
        self.weights = [block(ins[0], outs[0])]
        self.weights += [block(out, width) for width, out in zip(ins[1:], outs[1:])]
        self.biases = [block(out) for out in outs]
        self.norm_weights = [block(width) + 1.0 for width in ins]
        self.norm_biases = [block(width) for width in ins]
        gates = 3 * self.hidden_size
        self.gru = [block(gates, self.hidden_size), block(gates)] if gates else []
        self.log_std = block(self.action_width) + STD_X
        sizes = torch.tensor(spec.obs_sizes, device=device)
        self._true_input = None  # [A, 1, O] 1 within an agent's width, where widths differ
        if len(set(spec.obs_sizes)) > 1:
            self._true_input = (torch.arange(ins[0], device=device) < sizes[:, None]).float()[:, None]
        self._true_width = sizes.float()[:, None, None]


def _shared_spec(spec: EnvSpec, with_id: bool) -> EnvSpec:
    """The spec for one network of all agents: the widest observation, shorter ones zero-padded, and the agent's
    one-hot id.

    Raises ValueError where the agents' actions differ.
    """
    if len(set(spec.actions)) > 1:
        found = ", ".join(f"{agent} has {space}" for agent, space in zip(spec.agents, spec.actions))
        raise ValueError(f"algo.share_param=true needs the same actions for every agent; {found}")
    width = max(spec.obs_sizes) + (spec.num_agents if with_id else 0)
    return replace(spec, obs_sizes=(width,) * spec.num_agents)
