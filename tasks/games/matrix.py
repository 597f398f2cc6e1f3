"""MatrixGame: a one-step game for two agents with 2 and 3 choices.

Agents that follow their own gradients at the same time miss the best joint choice. Optionally some choices are
forbidden, and one agent is absent now and then.

Payoff (rows: first agent, columns: second): [[11, 0, 0], [0, 7, 6]] / 11. The optimum is 1.
"""

from dataclasses import dataclass, replace
from typing import Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.base import TensorGame

PAYOFF = ((11.0, 0.0, 0.0), (0.0, 7.0, 6.0))
BEST = 11.0


@dataclass
class MatrixGameCfg(TaskCfg):
    """Settings of the matrix game."""

    name: str = "MatrixGame"
    masks: bool = False  # forbid the second agent's last choice in every other episode
    absences: bool = False  # the second agent sits out every fourth episode; its choice is then 0

    def make(self, num_envs: int, device: torch.device, sim: str) -> "MatrixGame":
        """Build the game; `sim` has no effect."""
        return MatrixGame(self, num_envs, device)


class MatrixGame(TensorGame):
    """Both agents observe [1]; the state is [1]."""

    stochastic = False

    def __init__(self, cfg: MatrixGameCfg, num_envs: int, device: torch.device):
        super().__init__(
            EnvSpec(
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
        )
        self.cfg = cfg
        self.payoff = torch.tensor(PAYOFF, device=device) / BEST  # [2, 3]
        self.episode = torch.zeros(num_envs, dtype=torch.long, device=device)  # [E] number of the episode
        self.ones = torch.ones(num_envs, 1, device=device)

    def buffers(self) -> Dict[str, Tensor]:
        """Number of the episode, which decides on masks and absences."""
        return {"episode": self.episode}

    def start_episodes(self) -> None:
        """Begin with another episode in each environment."""
        self.episode.copy_(torch.arange(self.spec.num_envs, device=self.spec.device))

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start E new episodes, with masks and absences."""
        return replace(super().reset(seed), action_mask=self._masks(), alive=self._alive())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Pay for the joint choice; every step ends an episode."""
        first = actions[0][:, 0]
        second = actions[1][:, 0]
        if self.cfg.absences:
            second = torch.where(self._present(), second, torch.zeros_like(second))
        reward = self.payoff.flatten()[first * 3 + second][:, None]
        self.episode += 1
        terminated = torch.ones_like(self.episode, dtype=torch.bool)
        obs, state = self.observe()
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

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Constant observations 2 x [E, 1] and state [E, 1, 1]."""
        return (self.ones, self.ones), self.ones[:, None]

    def _present(self) -> Tensor:
        """Whether the second agent takes part, [E] bool."""
        return self.episode % 4 != 3

    def _masks(self) -> Optional[Tuple[Tensor, ...]]:
        """Allowed choices [E, 2] and [E, 3] bool; None where all are."""
        if not self.cfg.masks:
            return None
        allowed = torch.ones(self.spec.num_envs, 3, dtype=torch.bool, device=self.spec.device)
        allowed[:, 2] = self.episode % 2 == 0
        return torch.ones_like(allowed[:, :2]), allowed

    def _alive(self) -> Optional[Tensor]:
        """Agents that take part, [E, 2] bool; None where all do."""
        if not self.cfg.absences:
            return None
        present = self._present()
        return torch.stack((torch.ones_like(present), present), 1)
