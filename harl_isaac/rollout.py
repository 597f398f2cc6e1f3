"""What the agents lived through in one iteration: storage allocated once, filled by `collect`."""

from dataclasses import dataclass
from typing import Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.networks.actors import StackedActors


@dataclass
class AgentBatch:
    """One agent's part of a rollout, its T x E rows flattened to B."""

    obs: Tensor  # [B, O_i]
    action: Tensor  # [B, W_i]
    log_prob: Tensor  # [B] when it was chosen
    alive: Tensor  # [B] float: 1 where the agent acted
    mask: Optional[Tensor]  # [B, N_i] bool

    def rows(self, index) -> "AgentBatch":
        """The rows that a slice or an index tensor names."""
        mask = None if self.mask is None else self.mask[index]
        return AgentBatch(self.obs[index], self.action[index], self.log_prob[index], self.alive[index], mask)


class Rollout:
    """Tensors [T, E, A, ...], padded to the widest agent. Addresses never change."""

    def __init__(self, spec: EnvSpec, length: int):
        def zeros(*shape, dtype=torch.float32):
            return torch.zeros((length, spec.num_envs) + shape, dtype=dtype, device=spec.device)

        agents, bool_ = spec.num_agents, torch.bool
        self.spec, self.length = spec, length
        self.obs = zeros(agents, max(spec.obs_sizes))  # [T, E, A, O]
        self.state = zeros(spec.state_agents, spec.state_size)  # [T, E, K, S]
        self.next_state = zeros(spec.state_agents, spec.state_size)  # [T, E, K, S] true successors
        self.action = zeros(agents, max(action_width(space) for space in spec.actions))  # [T, E, A, W]
        self.log_prob = zeros(agents)  # [T, E, A]
        self.reward = zeros(spec.reward_agents)  # [T, E, R]
        self.terminated = zeros(1, dtype=bool_)  # [T, E, 1]
        self.truncated = zeros(1, dtype=bool_)  # [T, E, 1]
        self.alive = zeros(agents) + 1.0  # [T, E, A]
        widest = max(mask_width(space) for space in spec.actions)
        self.mask = zeros(agents, widest, dtype=bool_) if spec.has_action_mask else None  # [T, E, A, N]

    def agent(self, i: int) -> AgentBatch:
        """Agent i's true-width part."""
        space = self.spec.actions[i]
        width, choices = action_width(space), mask_width(space)
        rows = self.length * self.spec.num_envs
        mask = self.mask[:, :, i, :choices].reshape(rows, choices) if self.mask is not None and choices else None
        return AgentBatch(self.obs[:, :, i, :self.spec.obs_sizes[i]].reshape(rows, -1),
                          self.action[:, :, i, :width].reshape(rows, width), self.log_prob[:, :, i].reshape(rows),
                          self.alive[:, :, i].reshape(rows), mask)

    def write_before(self, t: int, step: Step) -> None:
        """What the agents see at step t."""
        for i, obs in enumerate(step.obs):
            self.obs[t, :, i, :obs.shape[1]] = obs
        self.state[t] = step.state
        if step.alive is not None:
            self.alive[t] = step.alive
        if self.mask is not None:
            for i, mask in enumerate(step.action_mask):
                self.mask[t, :, i, :mask.shape[1]] = mask

    def write_after(self, t: int, step: Step) -> None:
        """What step t led to."""
        self.reward[t] = step.reward
        self.next_state[t] = step.next_state
        self.terminated[t, :, 0] = step.terminated
        self.truncated[t, :, 0] = step.truncated


@torch.no_grad()
def collect(env: MultiAgentEnv, actors: StackedActors, rollout: Rollout, step: Step, observer=None) -> Step:
    """Fill `rollout` from `step` on, by sampled actions; returns the step to go on from.

    `observer` is shown every new Step: the episode statistics.
    """
    for t in range(rollout.length):
        rollout.write_before(t, step)
        mask = rollout.mask[t] if rollout.mask is not None else None
        action, log_prob = actors.sample(rollout.obs[t], mask)
        rollout.action[t] = action
        rollout.log_prob[t] = log_prob
        step = env.step(to_env(env.spec, action))
        rollout.write_after(t, step)
        if observer is not None:
            observer(step)
    return step


def to_env(spec: EnvSpec, action: Tensor) -> Tuple[Tensor, ...]:
    """The policies' padded actions [E, A, W] in each agent's own units, bounds and type: A x [E, W_i]."""
    return tuple(_in_bounds(space, action[:, i, :action_width(space)]) for i, space in enumerate(spec.actions))


def _in_bounds(space, action: Tensor) -> Tensor:
    if not isinstance(space, Box):
        return action.long()
    half = (space.high - space.low) / 2
    return action.clamp(-1.0, 1.0) * half + (space.low + half)
