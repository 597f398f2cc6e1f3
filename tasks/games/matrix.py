"""A one-step game for two agents with 2 and 3 choices, whose best joint choice is not found by agents that each follow
their own gradient at once; optionally some choices are forbidden and one agent is absent now and then.

Payoff (rows: first agent, columns: second): [[11, 0, 0], [0, 7, 6]] / 11. The optimum is 1.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import TaskCfg

PAYOFF = ((11.0, 0.0, 0.0), (0.0, 7.0, 6.0))
BEST = 11.0


@dataclass
class MatrixGameCfg(TaskCfg):
    """Settings of the matrix game."""

    name: str = "MatrixGame"
    masks: bool = False  # forbid the second agent's last choice in every other episode
    absences: bool = False  # the second agent sits out every fourth episode; its choice is then 0

    def make(self, num_envs: int, device: torch.device, sim: str) -> "MatrixGame":
        return MatrixGame(self, num_envs, device)


class MatrixGame:
    """Both agents see [1]; the state is [1]."""

    def __init__(self, cfg: MatrixGameCfg, num_envs: int, device: torch.device):
        self.cfg = cfg
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=("row", "column"),
            obs_sizes=(1, 1),
            actions=(Discrete(2), Discrete(3)),
            state_size=1,
            max_episode_steps=1,
            device=device,
            metrics=("success",),
            has_action_mask=cfg.masks,
            has_alive=cfg.absences,
        )
        self.payoff = torch.tensor(PAYOFF, device=device) / BEST
        self.episode = torch.zeros(num_envs, dtype=torch.long, device=device)
        self.ones = torch.ones(num_envs, 1, device=device)

    def reset(self, seed: Optional[int] = None) -> Step:
        self.episode.copy_(torch.arange(self.spec.num_envs, device=self.spec.device))
        nothing = torch.zeros_like(self.episode, dtype=torch.bool)
        return self._step(torch.zeros_like(self.ones), nothing)

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        first = actions[0][:, 0]
        second = actions[1][:, 0]
        if self.cfg.absences:
            second = torch.where(self._present(), second, torch.zeros_like(second))
        reward = self.payoff.flatten()[first * 3 + second][:, None]
        self.episode += 1
        return self._step(reward, torch.ones_like(self.episode, dtype=torch.bool))

    def state_dict(self) -> Dict[str, Any]:
        return {"episode": self.episode.clone()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.episode.copy_(state["episode"])

    def close(self) -> None:
        """Nothing to release."""

    def _present(self) -> Tensor:
        return self.episode % 4 != 3

    def _step(self, reward: Tensor, terminated: Tensor) -> Step:
        obs = (self.ones, self.ones)
        state = self.ones[:, None]
        return Step(
            obs,
            state,
            reward,
            terminated,
            torch.zeros_like(terminated),
            obs,
            state,
            {"success": (reward[:, 0] > 0.99).float()},
            self._masks(),
            self._alive(),
        )

    def _masks(self) -> Optional[Tuple[Tensor, ...]]:
        if not self.cfg.masks:
            return None
        allowed = torch.ones(self.spec.num_envs, 3, dtype=torch.bool, device=self.spec.device)
        allowed[:, 2] = self.episode % 2 == 0
        return torch.ones_like(allowed[:, :2]), allowed

    def _alive(self) -> Optional[Tensor]:
        if not self.cfg.absences:
            return None
        present = self._present()
        return torch.stack((torch.ones_like(present), present), 1)
