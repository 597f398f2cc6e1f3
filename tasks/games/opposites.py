"""A one-step game that agents with one policy between them cannot solve (Zhong et al., 2024, Example 2): half of the agents
must choose one of two actions and the other half the other, but all see the same.

The optimum is 1. The best that a shared policy reaches is 2 / 2^players, by choosing either action half of the time.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import TaskCfg


@dataclass
class OppositesGameCfg(TaskCfg):
    """Settings of the game of opposites."""

    name: str = "OppositesGame"
    players: int = 2  # agents, an even number

    def make(self, num_envs: int, device: torch.device, sim: str) -> "OppositesGame":
        """Raises ValueError."""
        if self.players < 2 or self.players % 2:
            raise ValueError(
                f"task.players={self.players}: two halves play against each other, give an even number from 2 on"
            )
        return OppositesGame(self, num_envs, device)


class OppositesGame:
    """Every agent sees [1]; the state is [1]."""

    def __init__(self, cfg: OppositesGameCfg, num_envs: int, device: torch.device):
        agents = tuple(f"player{i + 1}" for i in range(cfg.players))
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=agents,
            obs_sizes=(1,) * cfg.players,
            actions=(Discrete(2),) * cfg.players,
            state_size=1,
            max_episode_steps=1,
            device=device,
            metrics=("success",),
        )
        self.wanted = (
            torch.arange(cfg.players, device=device) * 2 // cfg.players
        )  # 0 for the first half, 1 for the second
        self.ones = torch.ones(num_envs, 1, device=device)

    def reset(self, seed: Optional[int] = None) -> Step:
        return self._step(torch.zeros_like(self.ones), torch.zeros_like(self.ones[:, 0], dtype=torch.bool))

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        as_wanted = torch.cat(actions, 1) == self.wanted
        reward = (as_wanted.all(1) | (~as_wanted).all(1)).to(self.ones.dtype)
        return self._step(reward[:, None], torch.ones_like(reward, dtype=torch.bool))

    def state_dict(self) -> Dict[str, Any]:
        return {}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Nothing to restore: every step is a game of its own."""

    def close(self) -> None:
        """Nothing to release."""

    def _step(self, reward: Tensor, terminated: Tensor) -> Step:
        obs = (self.ones,) * self.spec.num_agents
        state = self.ones[:, None]
        return Step(obs, state, reward, terminated, torch.zeros_like(terminated), obs, state, {"success": reward[:, 0]})
