"""TwoStepGame: the first agent's first choice decides which of two games both play (Rashid et al., 2018, Section 5).

In the second step game 2A pays 7 whatever is chosen, 2B [[0, 1], [1, 8]] (rows: first agent, columns: second). The
optimum is 8. Values of joint choices that are sums of the agents' values are best at 7: fitted to 2B by least squares
they are [[-1.5, 2.5], [2.5, 6.5]].
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.base import TensorGame

PAYOFFS = (((0.0, 0.0), (0.0, 0.0)), ((7.0, 7.0), (7.0, 7.0)), ((0.0, 1.0), (1.0, 8.0)))  # of step 1, 2A, 2B
BEST = 8.0


@dataclass
class TwoStepGameCfg(TaskCfg):
    """Settings of the two-step game."""

    name: str = "TwoStepGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "TwoStepGame":
        """Build the game; `sim` has no effect."""
        return TwoStepGame(num_envs, device)


class TwoStepGame(TensorGame):
    """Both agents observe which game they are in, one-hot [3], which is the state too."""

    stochastic = False

    def __init__(self, num_envs: int, device: torch.device):
        super().__init__(
            EnvSpec(
                num_envs=num_envs,
                agents=("first", "second"),
                obs_sizes=(3, 3),
                actions=(Discrete(2), Discrete(2)),
                state_size=3,
                max_episode_steps=2,
                device=device,
                metrics=("success",),
            )
        )
        self.payoff = torch.tensor(PAYOFFS, device=device).flatten()
        self.game = torch.zeros(num_envs, dtype=torch.long, device=device)  # [E] 0: the first step, 1: 2A, 2: 2B
        self.games = torch.eye(3, device=device)

    def buffers(self) -> Dict[str, Tensor]:
        """Numbers of the games."""
        return {"game": self.game}

    def start_episodes(self) -> None:
        """Begin with the first step."""
        self.game.zero_()

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Choose the game, or pay for the joint choice in it."""
        first, second = (action[:, 0] for action in actions)
        reward = self.payoff[self.game * 4 + first * 2 + second][:, None]
        done = self.game > 0
        self.game.copy_(torch.where(done, self.game, 1 + first))
        next_obs, next_state = self.observe()
        self.game.masked_fill_(done, 0)
        obs, state = self.observe()
        return Step(
            obs,
            state,
            reward,
            done,
            torch.zeros_like(done),
            next_obs,
            next_state,
            {"success": (reward[:, 0] == BEST).to(state.dtype)},
        )

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """The game one-hot: observations 2 x [E, 3] and state [E, 1, 3]."""
        shown = self.games[self.game]
        return (shown, shown), shown[:, None]
