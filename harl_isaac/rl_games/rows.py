"""Agents as rows of the batch that one rl_games policy acts and learns on."""

from typing import Any, Dict, Sequence, Tuple

import torch
from rl_games.common.gym_compat import gym
from torch import Tensor

from harl_isaac.acting import bounds, within_bounds
from harl_isaac.env import Box, EnvSpec, MultiDiscrete, Space, action_width
from harl_isaac.settings import INFINITY

POLICIES = ("joint", "shared")


def head_sizes(space: Space) -> Tuple[int, ...]:
    """Number of choices of each head of a Discrete or MultiDiscrete; none for a Box."""
    if isinstance(space, Box):
        return ()
    return space.nvec if isinstance(space, MultiDiscrete) else (space.n,)


def row_spaces(spec: EnvSpec, policy: str) -> Tuple[Space, ...]:
    """The action spaces that a row's action consists of: those of all agents (joint), or of one (shared)."""
    return spec.actions[:1] if policy == "shared" else spec.actions


def check_supported(spec: EnvSpec, policy: str) -> None:
    """Raise ValueError for a policy that is not one, and for agents that rl_games cannot express."""
    if policy not in POLICIES:
        raise ValueError(f"policy={policy}; possible: {', '.join(POLICIES)}")
    agents = zip(spec.agents, spec.obs_sizes, spec.actions)
    found = ", ".join(f"{agent}: {obs_size}, {space}" for agent, obs_size, space in agents)
    if policy == "shared" and (len(set(spec.obs_sizes)) > 1 or len(set(spec.actions)) > 1):
        raise ValueError(
            "policy=shared: rl_games shares a policy among agents of equal observations and actions only, "
            f"these have ({found}); use policy=joint"
        )
    if len({isinstance(space, Box) for space in spec.actions}) > 1:
        raise ValueError(
            f"rl_games takes continuous actions or choices, not both at once, these agents have ({found}); "
            "use algo=happo, mappo or hasac"
        )
    heads = {n for space in row_spaces(spec, policy) for n in head_sizes(space)}
    if spec.has_action_mask and len(heads) > 1:
        raise ValueError(
            f"rl_games masks choices of equal numbers only, these agents have ({found}); use algo=happo, mappo or hasac"
        )


class Rows:
    """Conversion between a task's agents and rows: one row of all agents (joint), or a row for each of them (shared).

    There are E rows, or E x A with the agents of an environment one after the other. Raises ValueError as
    `check_supported` does.
    """

    def __init__(self, spec: EnvSpec, policy: str = "joint", agent_id: bool = True):
        check_supported(spec, policy)
        self.spec = spec
        self.shared = policy == "shared"
        self.agents = spec.num_agents if self.shared else 1  # rows of an environment
        self.ids = torch.eye(spec.num_agents, device=spec.device) if self.shared and agent_id else None  # [A, A]
        self.spaces = row_spaces(spec, policy)
        self.continuous = isinstance(self.spaces[0], Box)
        self.heads = tuple(
            n for space in self.spaces for n in head_sizes(space)
        )  # of a row's choices; none if continuous
        id_size = 0 if self.ids is None else self.agents
        self.obs_size = spec.obs_sizes[0] + id_size if self.shared else sum(spec.obs_sizes)

    def obs(self, parts: Sequence[Tensor]) -> Tensor:
        """Observations A x [E, O_i] as [rows, obs_size]."""
        if not self.shared:
            return torch.cat(list(parts), 1)
        stacked = torch.stack(list(parts), 1)  # [E, A, O]
        if self.ids is not None:
            stacked = torch.cat((stacked, self.ids.expand(stacked.shape[0], -1, -1)), 2)
        return stacked.flatten(0, 1)

    def masks(self, parts: Sequence[Tensor]) -> Tensor:
        """Action masks A x [E, N_i] as [rows, N]."""
        return torch.stack(list(parts), 1).flatten(0, 1) if self.shared else torch.cat(list(parts), 1)

    def reward(self, reward: Tensor) -> Tensor:
        """Rewards [E, R] as [rows]; one row of all agents gets their mean."""
        return reward.expand(-1, self.agents).reshape(-1) if self.shared else reward.mean(1)

    def per_row(self, value: Tensor) -> Tensor:
        """Repeat a value of each environment [E] for its rows: [rows]."""
        return value.repeat_interleave(self.agents)

    def split_agents(self, action: Tensor) -> Tuple[Tensor, ...]:
        """Actions of rows [rows, W] as A x [E, W_i], in rl_games' units and type."""
        widths = [action_width(space) for space in self.spaces]
        action = action.reshape(-1, self.agents, sum(widths))
        return action.unbind(1) if self.shared else action[:, 0].split(widths, 1)

    def actions(self, action: Tensor) -> Tuple[Tensor, ...]:
        """Actions of rows [rows, W], in the agents' own units, as the environment takes them: within their bounds."""
        return tuple(
            within_bounds(space, part) if isinstance(space, Box) else part.long()
            for space, part in zip(self.spec.actions, self.split_agents(action))
        )

    def env_info(self) -> Dict[str, Any]:
        """Spaces, number of rows of an environment and width of a value, as rl_games asks for them."""
        box = gym.spaces.Box
        return {
            "action_space": self._action_space(),
            "observation_space": box(-INFINITY, INFINITY, (self.obs_size,)),
            "state_space": box(-INFINITY, INFINITY, (self.spec.state_agents * self.spec.state_size,)),
            "agents": self.agents,
            "value_size": 1,
        }

    def _action_space(self) -> Any:
        if self.continuous:
            boxes = [space for space in self.spaces if isinstance(space, Box)]
            low = torch.cat([bounds(space)[0] for space in boxes])
            high = torch.cat([bounds(space)[1] for space in boxes])
            return gym.spaces.Box(low.numpy(), high.numpy())
        choices = [gym.spaces.Discrete(n) for n in self.heads]
        return gym.spaces.Tuple(choices) if len(choices) > 1 else choices[0]
