"""What the agents lived through in one iteration: storage allocated once, filled by `collect`."""

from dataclasses import dataclass
from typing import List, Optional, Protocol, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.gru import Memory
from harl_isaac.threads import one_thread

FEW_ROWS = 256  # environments x agents up to which acting is left to one thread of the CPU


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
    memory: Optional[Memory] = None  # of N sequences

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

    def __init__(self, spec: EnvSpec, length: int, actors: Optional[StackedActors] = None, chunk_length: int = 1,
                 with_next_obs: bool = False):
        def zeros(*shape, dtype=torch.float32):
            return torch.zeros((length, spec.num_envs) + shape, dtype=dtype, device=spec.device)

        agents, bool_ = spec.num_agents, torch.bool
        self.spec, self.length, self.chunk_length = spec, length, chunk_length
        self.obs_sizes = spec.obs_sizes if actors is None else actors.spec.obs_sizes
        self.per_dimension = actors is not None and actors.per_dimension
        widest_obs, widest_action = max(spec.obs_sizes), max(action_width(space) for space in spec.actions)
        self.obs = zeros(agents, widest_obs) if actors is None else actors.blank_obs(length, spec.num_envs)  # [T, E, A, O]
        self.next_obs = zeros(agents, widest_obs) if with_next_obs else None  # [T, E, A, O] true successors
        self.state = zeros(spec.state_agents, spec.state_size)  # [T, E, K, S]
        self.next_state = zeros(spec.state_agents, spec.state_size)  # [T, E, K, S] true successors
        self.action = zeros(agents, widest_action)  # [T, E, A, W]
        self.log_prob = zeros(*(agents, widest_action) if self.per_dimension else (agents,))  # [T, E, A] or [T, E, A, W]
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
        width, choices = action_width(space), mask_width(space)
        mask = self.arranged(self.mask[:, :, i, :choices]) if self.mask is not None and choices else None
        log_prob = self.log_prob[:, :, i, :width] if self.per_dimension else self.log_prob[:, :, i]
        memory = Memory(self.start_hidden[:, :, i].flatten(0, 1), self.arranged(self.begin())) if self.recurrent else None
        return AgentBatch(self.arranged(self.obs[:, :, i, :self.obs_sizes[i]]), self.arranged(self.action[:, :, i, :width]),
                          self.arranged(log_prob), self.arranged(self.alive[:, :, i]), mask, memory)

    def arranged(self, value: Tensor) -> Tensor:
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
        write_side_by_side(self.obs[t], step.obs)
        self.state[t] = step.state
        if step.alive is not None:
            self.alive[t] = step.alive
        if self.mask is not None:
            write_side_by_side(self.mask[t], step.action_mask)
        if self.recurrent and t % self.chunk_length == 0:
            self.start_hidden[t // self.chunk_length] = self.hidden

    def write_after(self, t: int, step: Step) -> None:
        """What step t led to."""
        self.reward[t] = step.reward
        self.next_state[t] = step.next_state
        self.terminated[t, :, 0] = step.terminated
        self.truncated[t, :, 0] = step.truncated
        if self.next_obs is not None:
            write_side_by_side(self.next_obs[t], step.next_obs)
        if self.recurrent:
            self.hidden.masked_fill_(step.done[:, None, None], 0.0)


def write_side_by_side(room: Tensor, parts: Sequence[Tensor]) -> None:
    """Agents' tensors A x [E, W_i] into padded room [E, A, W]; what lies beyond an agent's width is left as it is."""
    for i, part in enumerate(parts):
        room[:, i, :part.shape[1]] = part


class JointPolicy(Protocol):
    """What plays: the on-policy algorithms' StackedActors, the off-policy ones' PlainActors."""

    hidden_size: int  # of a recurrent policy's state [E, A, H], else 0

    def blank_obs(self, *lead: int) -> Tensor:
        """Room for padded observations, [*lead, A, O]."""

    def folded(self) -> List[Tuple[Tensor, Tensor]]:
        """Layers prepared for acting many times with the same parameters."""

    def mode(self, obs: Tensor, mask: Optional[Tensor], hidden: Optional[Tensor], layers) -> Tensor:
        """The best actions [E, A, W]."""


class Sight:
    """All agents' observations and action masks of a Step side by side, as a joint policy takes them."""

    def __init__(self, spec: EnvSpec, actors: JointPolicy):
        self.obs = actors.blank_obs(spec.num_envs)  # [E, A, O]
        widest = max(mask_width(space) for space in spec.actions)
        self.mask = torch.zeros((spec.num_envs, spec.num_agents, widest), dtype=torch.bool, device=spec.device)

    def __call__(self, step: Step) -> Tuple[Tensor, Optional[Tensor]]:
        """Padded obs [E, A, O] and mask [E, A, N], valid until the next call."""
        write_side_by_side(self.obs, step.obs)
        write_side_by_side(self.mask, step.action_mask or ())
        return self.obs, self.mask if step.action_mask is not None else None


@torch.no_grad()
def collect(env: MultiAgentEnv, actors: StackedActors, rollout: Rollout, step: Step, observer=None) -> Step:
    """Fill `rollout` from `step` on, by sampled actions; returns the step to go on from.

    `observer` is shown every new Step: the episode statistics.
    """
    hidden, layers, spec = rollout.hidden if rollout.recurrent else None, actors.folded(), env.spec
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


def to_env(spec: EnvSpec, action: Tensor) -> Tuple[Tensor, ...]:
    """The policies' padded actions [E, A, W] in each agent's own units, bounds and type: A x [E, W_i]."""
    if any(isinstance(space, Box) for space in spec.actions):
        bounded = action.clamp(-1.0, 1.0)
    return tuple(_in_units(space, bounded[:, i, :space.size]) if isinstance(space, Box) else
                 action[:, i, :action_width(space)].long() for i, space in enumerate(spec.actions))


def _in_units(space: Box, action: Tensor) -> Tensor:
    half, middle = (space.high - space.low) / 2, (space.high + space.low) / 2
    return action if half == 1.0 and middle == 0.0 else action * half + middle
