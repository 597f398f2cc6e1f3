"""CountingGame: every observation names its environment, episode and step, so that misplaced rows show in tests.

Agent i observes [environment, episode, step, i]. Episodes of environment e last 3 + e % 4 steps; odd episodes end by
truncation, even ones by termination. The reward is the number of the step in which it was earned.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, Step
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.base import TensorGame


@dataclass
class CountingGameCfg(TaskCfg):
    """Two agents whose actions have no effect."""

    name: str = "CountingGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "CountingGame":
        """Build the game; `sim` has no effect."""
        return CountingGame(num_envs, device)


class CountingGame(TensorGame):
    """Two agents with observations of 4 and 5 (the last is zero), actions Box(1) and Box(2) without effect."""

    stochastic = False

    def __init__(self, num_envs: int, device: torch.device):
        super().__init__(
            EnvSpec(
                num_envs=num_envs,
                agents=("narrow", "wide"),
                obs_sizes=(4, 5),
                actions=(Box(1), Box(2)),
                state_size=3,
                max_episode_steps=6,
                device=device,
            )
        )
        self.row = torch.arange(num_envs, device=device)  # [E] numbers of the environments
        self.length = 3 + self.row % 4  # [E] steps of an episode
        self.episode = torch.zeros_like(self.row)  # [E] episodes that ended

    def buffers(self) -> Dict[str, Tensor]:
        """Numbers of the episode and of the step."""
        return {"episode": self.episode, "count": self.count}

    def start_episodes(self) -> None:
        """Count episodes from zero."""
        self.episode.zero_()

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Count, whatever the actions are."""
        reward = self.count[:, None].float()
        self.count += 1
        next_obs, next_state = self.observe()
        done = self.count >= self.length
        odd = self.episode % 2 == 1
        self.episode += done
        self.count.masked_fill_(done, 0)
        obs, state = self.observe()
        return Step(obs, state, reward, done & ~odd, done & odd, next_obs, next_state)

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations [E, 4] and [E, 5]; the state [E, 1, 3] is (environment, episode, step)."""
        state = torch.stack((self.row, self.episode, self.count), 1).float()
        obs = tuple(torch.nn.functional.pad(state, (0, 1 + i), value=0.0) for i in range(2))
        obs[1][:, 3] = 1.0
        return obs, state[:, None]
