"""All agents' policies in one block of memory: acting is one batched product a layer, updating is an agent at a time.

Agent i is an ordinary module whose parameters are views of row i of the stack, so that its own optimizer moves its rows
and nobody else's, and the stack sees every update at once. The first layer is stored [A, in, out] and the others
[A, out, in]: agents with fewer inputs or outputs than the widest then still own one contiguous piece. With parameter
sharing the stack has one row, which is every agent's, and an agent's number may be appended to its observation.
"""

from dataclasses import replace
from typing import Any, Callable, List, Optional, Sequence, Tuple

import torch
from torch import Tensor, nn

from harl_isaac.env import Box, EnvSpec, mask_width
from harl_isaac.networks.distributions import MAX_STD, STD_X, distribution_for
from harl_isaac.networks.gru import SequenceStart
from harl_isaac.networks.joint_policy import Layers, group_by_action_space
from harl_isaac.networks.mlp import initialize
from harl_isaac.networks.stacked_mlp import StackedMLP

Choice = Tuple[Tensor, Tensor]  # actions [..., W], their log-probabilities [...]


class Actor(nn.Module):
    """One policy: an MLP over views of a row of the stack, and the distribution of its agent's action space."""

    def __init__(self, stack: "StackedActors", i: int):
        super().__init__()
        space = stack.spec.actions[i]
        self.distribution = stack.distributions[i]
        self.net = stack.networks.mlp(i)
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
        input_norm: str = "layer",
        layer_norm: bool = True,
        distributions: Optional[Sequence[Any]] = None,
    ):
        super().__init__()
        self.ids = torch.eye(spec.num_agents, device=spec.device) if shared and with_id else None
        self.spec = _shared_spec(spec, with_id) if shared else spec
        self.shared = shared
        self.per_dimension = per_dimension
        self.distributions = list(distributions or [distribution_for(space, max_std) for space in spec.actions])
        self.action_width = max(distribution.width for distribution in self.distributions)
        self.rows = 1 if shared else spec.num_agents
        self.networks = StackedMLP(
            self.spec.obs_sizes[: self.rows],
            hidden,
            [distribution.head_size for distribution in self.distributions[: self.rows]],
            activation,
            spec.device,
            recurrent,
            input_norm,
            layer_norm,
        )
        self.log_std = torch.full((self.rows, self.action_width), STD_X, device=spec.device)  # as the networks' blocks
        self.obs_size = self.networks.width
        self.hidden_size = self.networks.hidden_size
        self.input_norm = self.networks.input_norm
        self.agents = nn.ModuleList([Actor(self, i) for i in range(self.rows)])
        for actor in self.agents:
            initialize(actor.net, activation, head_gain)
        self.groups = group_by_action_space(spec)
        order = [i for members, _ in self.groups for i in members]
        self._from_groups = [order.index(i) for i in range(spec.num_agents)]  # columns of all groups, by agent

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
        return self.networks.folded_layers()

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
        x = obs.transpose(0, 1).reshape(self.rows, -1, self.obs_size)  # [A, E, .] or, with one row for all, [1, A E, .]
        states = None
        if hidden is not None:
            # a copy, also of a single environment's, which reshape would not make
            states = hidden.transpose(0, 1).clone(memory_format=torch.contiguous_format)
            states = states.view(self.rows, -1, self.hidden_size)
        x = self.networks.run(x, states, layers)
        if hidden is not None and states is not None:
            hidden.copy_(states.reshape(self.spec.num_agents, -1, self.hidden_size).transpose(0, 1))
        return x.reshape(self.spec.num_agents, obs.shape[0], -1).transpose(0, 1)

    def ratios(
        self, outputs: Tensor, action: Tensor, old_log_prob: Tensor, mask: Optional[Tensor] = None
    ) -> Tuple[Tensor, Tensor]:
        """Probability ratios to the stored log-probabilities and entropies, [B, A] each, of all agents' own networks.

        Padded: outputs [B, A, H], actions [B, A, W], log-probabilities [B, A] or, per dimension, [B, A, W] (the ratio
        is then the mean over dimensions), mask [B, A, N].
        """
        ratios = []
        entropies = []
        for members, index in self.groups:
            distribution = self.distributions[members[0]]
            width = distribution.width
            log_std = self.log_std[index, :width]
            head = outputs[:, index, : distribution.head_size]
            allowed = self._mask_of(members, index, mask)
            own_action = action[:, index, :width]
            if self.per_dimension:
                log_prob = distribution.log_probs(head, log_std, allowed, own_action)
                ratios.append((log_prob - old_log_prob[:, index, :width]).exp().mean(-1))
            else:
                log_prob = distribution.log_prob(head, log_std, allowed, own_action)
                ratios.append((log_prob - old_log_prob[:, index]).exp())
            entropies.append(distribution.entropy(head, log_std, allowed))
        return self._in_agents_order(ratios), self._in_agents_order(entropies)

    def _in_agents_order(self, values: List[Tensor]) -> Tensor:
        """[B, A] from the columns of each group of agents."""
        return values[0] if len(values) == 1 else torch.cat(values, 1)[:, self._from_groups]

    def _mask_of(self, members: List[int], index: Any, mask: Optional[Tensor]) -> Optional[Tensor]:
        """A group's masks [B, A', N'] of all agents' padded ones; None where nothing is forbidden."""
        choices = mask_width(self.spec.actions[members[0]])
        return None if mask is None or not choices else mask[:, index, :choices]

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
            allowed = self._mask_of(members, index, mask)
            head = outputs[:, index, : distribution.head_size]
            chosen, chosen_log_prob = choose(distribution, head, log_stds[index, :width], allowed)
            action[:, index, :width] = chosen
            if self.per_dimension:
                log_prob[:, index, :width] = chosen_log_prob
            else:
                log_prob[:, index] = chosen_log_prob
        return action, log_prob


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
