"""What the agents lived through in one iteration: storage allocated once, filled by `collect`."""

from dataclasses import dataclass
from typing import Optional

import torch
from torch import Tensor

from harl_isaac.acting import FEW_ROWS, pack_agents, to_env
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.gru import SequenceStart
from harl_isaac.runtime import one_thread


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
    memory: Optional[SequenceStart] = None  # of N sequences

    def ratio(self, log_prob: Tensor) -> Tensor:
        """Probability of the actions by `log_prob` over that when they were chosen, [B].

        Of an action's dimensions the product (in `log_prob` already) or, with action_aggregation=mean, the mean.
        """
        ratio = (log_prob - self.log_prob).exp()
        return ratio if ratio.dim() == self.alive.dim() else ratio.mean(-1)

    def rows(self, index) -> "AgentBatch":
        """The rows (or sequences) that a slice or an index tensor names."""
        mask = None if self.mask is None else self.mask[index]
        memory = None if self.memory is None else self.memory.rows(index)
        return AgentBatch(self.obs[index], self.action[index], self.log_prob[index], self.alive[index], mask, memory)


class Rollout:
    """Tensors [T, E, A, ...], padded to the widest agent. Addresses never change.

    `actors` says what is kept for its networks: agents' places, recurrent states, log-probabilities of each dimension.
    """

    def __init__(
        self,
        spec: EnvSpec,
        length: int,
        actors: Optional[StackedActors] = None,
        chunk_length: int = 1,
        with_next_obs: bool = False,
    ):
        def zeros(*shape, dtype=torch.float32):
            return torch.zeros((length, spec.num_envs) + shape, dtype=dtype, device=spec.device)

        agents = spec.num_agents
        bool_ = torch.bool
        self.spec = spec
        self.length = length
        self.chunk_length = chunk_length
        self.obs_sizes = spec.obs_sizes if actors is None else actors.spec.obs_sizes
        self.per_dimension = actors is not None and actors.per_dimension
        widest_obs = max(spec.obs_sizes)
        widest_action = max(action_width(space) for space in spec.actions)
        self.obs = (
            zeros(agents, widest_obs) if actors is None else actors.empty_obs(length, spec.num_envs)
        )  # [T, E, A, O]
        self.next_obs = zeros(agents, widest_obs) if with_next_obs else None  # [T, E, A, O] true successors
        self.state = zeros(spec.state_agents, spec.state_size)  # [T, E, K, S]
        self.next_state = zeros(spec.state_agents, spec.state_size)  # [T, E, K, S] true successors
        self.action = zeros(agents, widest_action)  # [T, E, A, W]
        self.log_prob = zeros(
            *(agents, widest_action) if self.per_dimension else (agents,)
        )  # [T, E, A] or [T, E, A, W]
        self.reward = zeros(spec.reward_agents)  # [T, E, R]
        self.terminated = zeros(1, dtype=bool_)  # [T, E, 1]
        self.truncated = zeros(1, dtype=bool_)  # [T, E, 1]
        self.alive = zeros(agents) + 1.0  # [T, E, A]
        widest = max(mask_width(space) for space in spec.actions)
        self.mask = zeros(agents, widest, dtype=bool_) if spec.has_action_mask else None  # [T, E, A, N]
        self.recurrent = actors is not None and actors.hidden_size > 0
        if self.recurrent:
            self.hidden = torch.zeros(spec.num_envs, agents, actors.hidden_size, device=spec.device)  # [E, A, H] now
            self.start_hidden = self.hidden.new_zeros((length // chunk_length,) + self.hidden.shape)  # [T/L, E, A, H]

    def agent(self, i: int) -> AgentBatch:
        """Agent i's true-width part."""
        space = self.spec.actions[i]
        width = action_width(space)
        choices = mask_width(space)
        mask = self.as_batch(self.mask[:, :, i, :choices]) if self.mask is not None and choices else None
        log_prob = self.log_prob[:, :, i, :width] if self.per_dimension else self.log_prob[:, :, i]
        memory = (
            SequenceStart(self.start_hidden[:, :, i].flatten(0, 1), self.as_batch(self.begin()))
            if self.recurrent
            else None
        )
        return AgentBatch(
            self.as_batch(self.obs[:, :, i, : self.obs_sizes[i]]),
            self.as_batch(self.action[:, :, i, :width]),
            self.as_batch(log_prob),
            self.as_batch(self.alive[:, :, i]),
            mask,
            memory,
        )

    def as_batch(self, value: Tensor) -> Tensor:
        """[T, E, ...] as the rows [B, ...] or, for a recurrent policy, the sequences [N, L, ...] of a batch."""
        if not self.recurrent:
            return value.flatten(0, 1)
        parts = value.unflatten(0, (-1, self.chunk_length))  # [T/L, L, E, ...]
        return parts.transpose(1, 2).flatten(0, 1)

    def begin(self) -> Tensor:
        """[T, E] bool: an episode begins with this step (not told of step 0, where the stored state is zero then)."""
        done = (self.terminated | self.truncated)[..., 0]
        return torch.cat((torch.zeros_like(done[:1]), done[:-1]))

    def write_before(self, t: int, step: Step) -> None:
        """What the agents see at step t."""
        pack_agents(self.obs[t], step.obs)
        self.state[t] = step.state
        if step.alive is not None:
            self.alive[t] = step.alive
        if self.mask is not None:
            pack_agents(self.mask[t], step.action_mask)
        if self.recurrent and t % self.chunk_length == 0:
            self.start_hidden[t // self.chunk_length] = self.hidden

    def write_after(self, t: int, step: Step) -> None:
        """What step t led to."""
        self.reward[t] = step.reward
        self.next_state[t] = step.next_state
        self.terminated[t, :, 0] = step.terminated
        self.truncated[t, :, 0] = step.truncated
        if self.next_obs is not None:
            pack_agents(self.next_obs[t], step.next_obs)
        if self.recurrent:
            self.hidden.masked_fill_(step.done[:, None, None], 0.0)


@torch.no_grad()
def collect(env: MultiAgentEnv, actors: StackedActors, rollout: Rollout, step: Step, observer=None) -> Step:
    """Fill `rollout` from `step` on, by sampled actions; returns the step to go on from.

    `observer` is shown every new Step: the episode statistics.
    """
    hidden = rollout.hidden if rollout.recurrent else None
    layers = actors.fused_layers()
    spec = env.spec
    with one_thread(spec.device, spec.num_envs * spec.num_agents <= FEW_ROWS):
        for t in range(rollout.length):
            rollout.write_before(t, step)
            mask = rollout.mask[t] if rollout.mask is not None else None
            action, log_prob = actors.sample(rollout.obs[t], mask, hidden, layers)
            rollout.action[t] = action
            rollout.log_prob[t] = log_prob
            step = env.step(to_env(spec, action))
            rollout.write_after(t, step)
            if observer is not None:
                observer(step)
    return step
