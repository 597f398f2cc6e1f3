"""OppositesGame: a one-step game that agents with a shared policy cannot solve (Zhong et al., 2024, Example 2).

Half of the agents must choose one of two actions and the other half the other, but all observe the same.

The optimum is 1. The best that a shared policy reaches is 2 / 2^players, by choosing either action half of the time.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import MOST_AGENTS, TaskCfg
from harl_isaac.tasks.games.base import TensorGame


@dataclass
class OppositesGameCfg(TaskCfg):
    """Settings of the game of opposites."""

    name: str = "OppositesGame"
    players: int = 2  # agents, an even number

    def make(self, num_envs: int, device: torch.device, sim: str) -> "OppositesGame":
        """Build the game; `sim` has no effect. Raises ValueError for an odd number of players."""
        if self.players % 2 or not 2 <= self.players <= MOST_AGENTS:
            raise ValueError(
                f"task.players={self.players}: two halves play against each other, give an even number from 2 to "
                f"{MOST_AGENTS}"
            )
        return OppositesGame(self, num_envs, device)


class OppositesGame(TensorGame):
    """Every agent observes [1]; the state is [1]."""

    stochastic = False

    def __init__(self, cfg: OppositesGameCfg, num_envs: int, device: torch.device):
        super().__init__(
            EnvSpec(
                num_envs=num_envs,
                agents=tuple(f"player{i + 1}" for i in range(cfg.players)),
                obs_sizes=(1,) * cfg.players,
                actions=(Discrete(2),) * cfg.players,
                state_size=1,
                max_episode_steps=1,
                device=device,
                metrics=("success",),
            )
        )
        # [A] 0 for the first half, 1 for the second
        self.wanted = torch.arange(cfg.players, device=device) * 2 // cfg.players
        self.ones = torch.ones(num_envs, 1, device=device)

    def buffers(self) -> Dict[str, Tensor]:
        """Nothing: every step is a game of its own."""
        return {}

    def start_episodes(self) -> None:
        """Nothing to write: all episodes are alike."""

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Pay 1 for either of the two joint actions that tell the halves apart; every step ends an episode."""
        as_wanted = torch.cat(actions, 1) == self.wanted
        reward = (as_wanted.all(1) | (~as_wanted).all(1)).to(self.ones.dtype)
        terminated = torch.ones_like(reward, dtype=torch.bool)
        obs, state = self.observe()
        return Step(
            obs, state, reward[:, None], terminated, torch.zeros_like(terminated), obs, state, {"success": reward}
        )

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Constant observations A x [E, 1] and state [E, 1, 1]."""
        return (self.ones,) * self.spec.num_agents, self.ones[:, None]
