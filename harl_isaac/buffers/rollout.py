"""Rollout storage for one iteration, allocated once and filled by `collect`."""

from dataclasses import dataclass
from typing import Callable, Optional, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.acting import interact, pack_agents
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.faults import Faults
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.gru import SequenceStart

RowIndex = Union[slice, Tensor]  # of a batch's rows or sequences


@dataclass
class AgentBatch:
    """One agent's part of a rollout: its T x E rows as B or, for a recurrent policy, as N sequences of L steps.

    Shapes are given for rows; those of sequences begin with [N, L] instead of [B].
    """

    obs: Tensor  # [B, O_i]
    action: Tensor  # [B, W_i]
    log_prob: Tensor  # [B] when it was chosen ([B, W_i] with action_aggregation=mean)
    alive: Tensor  # [B] float: 1 where the agent acted
    mask: Optional[Tensor] = None  # [B, N_i] bool
    sequence: Optional[SequenceStart] = None  # of N sequences

    def ratio(self, log_prob: Tensor) -> Tensor:
        """Probability ratio [B] of `log_prob` to the stored log-probability.

        Of an action's dimensions the product (in `log_prob` already) or, with action_aggregation=mean, the mean.
        """
        ratio = (log_prob - self.log_prob).exp()
        return ratio if ratio.dim() == self.alive.dim() else ratio.mean(-1)

    def rows(self, index: RowIndex) -> "AgentBatch":
        """The rows (or sequences) that a slice or an index tensor selects."""
        return AgentBatch(
            obs=self.obs[index],
            action=self.action[index],
            log_prob=self.log_prob[index],
            alive=self.alive[index],
            mask=None if self.mask is None else self.mask[index],
            sequence=None if self.sequence is None else self.sequence.rows(index),
        )


class Rollout:
    """Tensors [T, E, A, ...], padded to the widest agent. Addresses never change.

    `actors` decides what is kept for its networks: agent ids, recurrent states, log-probabilities of each dimension.
    """

    def __init__(
        self,
        spec: EnvSpec,
        length: int,
        actors: Optional[StackedActors] = None,
        chunk_length: int = 1,
        with_next_obs: bool = False,
    ):
        self.spec = spec
        self.length = length
        self.chunk_length = chunk_length
        self.obs_sizes = spec.obs_sizes if actors is None else actors.spec.obs_sizes
        self.per_dimension = actors is not None and actors.per_dimension
        self.recurrent = actors is not None and actors.hidden_size > 0
        self.faults = Faults(spec)  # numbers of environments that were not finite
        self._allocate(actors, with_next_obs)

    def _allocate(self, actors: Optional[StackedActors], with_next_obs: bool) -> None:
        spec = self.spec
        agents = spec.num_agents
        widest_obs = max(spec.obs_sizes)
        widest_action = max(action_width(space) for space in spec.actions)
        widest_mask = max(mask_width(space) for space in spec.actions)
        state: Tuple[int, int] = (spec.state_agents, spec.state_size)
        self.obs = self._zeros(agents, widest_obs)  # [T, E, A, O]
        if actors is not None:
            self.obs = actors.empty_obs(self.length, spec.num_envs)
        self.next_obs = self._zeros(agents, widest_obs) if with_next_obs else None  # [T, E, A, O] true successors
        self.state = self._zeros(*state)  # [T, E, K, S]
        self.next_state = self._zeros(*state)  # [T, E, K, S] true successors
        self.action = self._zeros(agents, widest_action)  # [T, E, A, W]
        self.log_prob = self._zeros(agents)  # [T, E, A] or, per dimension, [T, E, A, W]
        if self.per_dimension:
            self.log_prob = torch.zeros_like(self.action)
        self.reward = self._zeros(spec.reward_agents)  # [T, E, R]
        self.terminated = self._zeros(1, dtype=torch.bool)  # [T, E, 1]
        self.truncated = self._zeros(1, dtype=torch.bool)  # [T, E, 1]
        self.alive = self._zeros(agents) + 1.0  # [T, E, A]
        self.mask = None  # [T, E, A, N]
        if spec.has_action_mask:
            self.mask = self._zeros(agents, widest_mask, dtype=torch.bool)
        hidden_size = 0 if actors is None else actors.hidden_size
        self.hidden = torch.zeros(spec.num_envs, agents, hidden_size, device=spec.device)  # [E, A, H] now
        chunks = self.length // self.chunk_length
        self.start_hidden = self.hidden.new_zeros((chunks,) + self.hidden.shape)  # [T/L, E, A, H]

    def _zeros(self, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
        return torch.zeros((self.length, self.spec.num_envs) + shape, dtype=dtype, device=self.spec.device)

    def agent(self, i: int) -> AgentBatch:
        """Agent i's part, in its true widths."""
        space = self.spec.actions[i]
        width = action_width(space)
        choices = mask_width(space)
        mask = None
        if self.mask is not None and choices:
            mask = self.as_batch(self.mask[:, :, i, :choices])
        sequence = None
        if self.recurrent:
            sequence = SequenceStart(self.start_hidden[:, :, i].flatten(0, 1), self.as_batch(self.episode_starts()))
        log_prob = self.log_prob[:, :, i, :width] if self.per_dimension else self.log_prob[:, :, i]
        return AgentBatch(
            obs=self.as_batch(self.obs[:, :, i, : self.obs_sizes[i]]),
            action=self.as_batch(self.action[:, :, i, :width]),
            log_prob=self.as_batch(log_prob),
            alive=self.as_batch(self.alive[:, :, i]),
            mask=mask,
            sequence=sequence,
        )

    def write_log_prob(self, i: int, log_prob: Tensor) -> None:
        """Store agent i's log-probabilities, in the shapes of its `agent` part."""
        value = log_prob
        if self.recurrent:  # [N, L, ...] -> [T/L, L, E, ...] -> [T E, ...]
            value = log_prob.unflatten(0, (-1, self.spec.num_envs)).transpose(1, 2).flatten(0, 2)
        value = value.unflatten(0, (self.length, self.spec.num_envs))
        if self.per_dimension:
            self.log_prob[:, :, i, : value.shape[-1]] = value
        else:
            self.log_prob[:, :, i] = value

    def as_batch(self, value: Tensor) -> Tensor:
        """[T, E, ...] as the rows [B, ...] or, for a recurrent policy, the sequences [N, L, ...] of a batch."""
        if not self.recurrent:
            return value.flatten(0, 1)
        parts = value.unflatten(0, (-1, self.chunk_length))  # [T/L, L, E, ...]
        return parts.transpose(1, 2).flatten(0, 1)

    def episode_starts(self) -> Tensor:
        """[T, E] bool: an episode begins with this step; false at step 0, whose stored state is zero if one does."""
        done = (self.terminated | self.truncated)[..., 0]
        return torch.cat((torch.zeros_like(done[:1]), done[:-1]))

    def write_before(self, t: int, step: Step) -> None:
        """Store the observations, states and masks that the agents act on at step t."""
        pack_agents(self.obs[t], step.obs)
        self.state[t] = step.state
        if step.alive is not None:
            self.alive[t] = step.alive
        if self.mask is not None and step.action_mask is not None:
            pack_agents(self.mask[t], step.action_mask)
        if self.recurrent and t % self.chunk_length == 0:
            self.start_hidden[t // self.chunk_length] = self.hidden

    def write_after(self, t: int, step: Step) -> None:
        """Store the outcome of step t."""
        self.reward[t] = step.reward
        self.next_state[t] = step.next_state
        self.terminated[t, :, 0] = step.terminated
        self.truncated[t, :, 0] = step.truncated
        if self.next_obs is not None:
            pack_agents(self.next_obs[t], step.next_obs)
        if self.recurrent:
            self.hidden.masked_fill_(step.done[:, None, None], 0.0)


def rollout_bytes(spec: EnvSpec, length: int) -> int:
    """Memory of a rollout, but for recurrent states, agents' ids and what single algorithms keep beside it."""
    widths = [max(action_width(space) for space in spec.actions), max(spec.obs_sizes)]
    numbers = spec.num_agents * (sum(widths) + 2) + 2 * spec.state_agents * spec.state_size + spec.reward_agents
    flags = 2
    if spec.has_action_mask:
        flags += spec.num_agents * max(mask_width(space) for space in spec.actions)
    return length * spec.num_envs * (4 * numbers + flags)


@torch.no_grad()
def collect(
    env: MultiAgentEnv,
    actors: StackedActors,
    rollout: Rollout,
    step: Step,
    observer: Optional[Callable[[Step], None]] = None,
) -> Step:
    """Fill `rollout` from `step` on, with sampled actions; returns the last Step (see `acting.interact`)."""
    if not rollout.spec.has_alive:
        rollout.alive.fill_(1.0)  # also where rows of the last time were taken out, see quarantine.py
    hidden = rollout.hidden if rollout.recurrent else None
    layers = actors.fused_layers()

    def act(t: int, step: Step) -> Tensor:
        rollout.write_before(t, step)
        mask = None if rollout.mask is None else rollout.mask[t]
        action, log_prob = actors.sample(rollout.obs[t], mask, hidden, layers)
        rollout.action[t] = action
        rollout.log_prob[t] = log_prob
        return action

    def store(t: int, action: Tensor, next_step: Step) -> None:
        rollout.write_after(t, next_step)

    return interact(env, step, rollout.length, act, store, observer)
