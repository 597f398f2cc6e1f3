"""A game that counts: every observation says where it is from, so that a row in the wrong place shows.

Agent i sees [environment, episode, step, i]. Episodes of environment e last 3 + e % 4 steps; odd episodes end by
truncation, even ones by termination. The reward is the number of the step it was earned in.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, Step
from harl_isaac.settings import TaskCfg


@dataclass
class CountingGameCfg(TaskCfg):
    """Two agents that only watch."""

    name: str = "CountingGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "CountingGame":
        return CountingGame(num_envs, device)


class CountingGame:
    """Two agents with observations of 4 and 5 (the last is zero), actions Box(1) and Box(2) without effect."""

    def __init__(self, num_envs: int, device: torch.device):
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=("narrow", "wide"),
            obs_sizes=(4, 5),
            actions=(Box(1), Box(2)),
            state_size=3,
            max_episode_steps=6,
            device=device,
        )
        self.row = torch.arange(num_envs, device=device)
        self.length = 3 + self.row % 4
        self.episode = torch.zeros_like(self.row)
        self.count = torch.zeros_like(self.row)

    def reset(self, seed: Optional[int] = None) -> Step:
        self.episode.zero_()
        self.count.zero_()
        return Step.first(self.spec, *self._observe())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        reward = self.count[:, None].float()
        self.count += 1
        next_obs, next_state = self._observe()
        done = self.count >= self.length
        odd = self.episode % 2 == 1
        self.episode += done
        self.count.masked_fill_(done, 0)
        obs, state = self._observe()
        return Step(obs, state, reward, done & ~odd, done & odd, next_obs, next_state)

    def state_dict(self) -> Dict[str, Any]:
        return {"episode": self.episode.clone(), "count": self.count.clone()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.episode.copy_(state["episode"])
        self.count.copy_(state["count"])

    def close(self) -> None:
        """Nothing to release."""

    def _observe(self):
        state = torch.stack((self.row, self.episode, self.count), 1).float()
        obs = tuple(torch.nn.functional.pad(state, (0, 1 + i), value=0.0) for i in range(2))
        obs[1][:, 3] = 1.0
        return obs, state[:, None]
