"""SumGame: a continuous game of coordination. Each step shows both agents a goal, to which their actions must add up.

The reward is exp(-|x + y1 - y2 - goal|); the optimum of an episode of 5 steps, which a time limit ends, is 5. Either
agent can make up for any action of the other, so that two who learn at the same time correct the same error twice.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, Step
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.base import TensorGame

STEPS = 5
CLOSE = 0.2  # an episode whose sums all lie as close as this is a success


@dataclass
class SumGameCfg(TaskCfg):
    """Two agents whose actions have different widths and bounds."""

    name: str = "SumGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SumGame":
        """Build the game; `sim` has no effect."""
        return SumGame(num_envs, device)


class SumGame(TensorGame):
    """Agent x within [-3, 1] observes [goal]; (y1, y2) within [0, 2] observes [goal, 1 - goal]; the state is [goal]."""

    def __init__(self, num_envs: int, device: torch.device):
        super().__init__(
            EnvSpec(
                num_envs=num_envs,
                agents=("one", "two"),
                obs_sizes=(1, 2),
                actions=(Box(1, -3.0, 1.0), Box(2, 0.0, 2.0)),
                state_size=1,
                max_episode_steps=STEPS,
                device=device,
                metrics=("success",),
            )
        )
        self.goal = torch.zeros(num_envs, 1, device=device)  # within [-1, 1)
        self.all_close = torch.ones(num_envs, dtype=torch.bool, device=device)  # [E] in all steps so far

    def buffers(self) -> Dict[str, Tensor]:
        """Numbers of the steps, the goals, and whether all were met so far."""
        return {"count": self.count, "goal": self.goal, "all_close": self.all_close}

    def start_episodes(self) -> None:
        """Draw the first goals."""
        self.all_close.fill_(True)
        self._new_goals()

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Pay for the distance from the goal; a time limit ends the episode."""
        one, two = actions
        distance = (one + two[:, :1] - two[:, 1:] - self.goal).abs()
        self.all_close &= distance[:, 0] < CLOSE
        self.count += 1
        truncated = self.count >= STEPS
        success = (self.all_close & truncated).float()
        self.count.masked_fill_(truncated, 0)
        self.all_close |= truncated
        self._new_goals()
        # All goals are drawn alike: the successor of an ended episode looks like the next one's start.
        obs, state = self.observe()
        reward = torch.exp(-distance)
        never = torch.zeros_like(truncated)
        return Step(obs, state, reward, never, truncated, obs, state, {"success": success})

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations [E, 1] and [E, 2], the state [E, 1, 1]; new tensors, since the goal is overwritten."""
        return (self.goal.clone(), torch.cat((self.goal, 1.0 - self.goal), 1)), self.goal[:, None].clone()

    def _new_goals(self) -> None:
        self.goal.copy_(torch.rand(self.goal.shape, generator=self.random, device=self.goal.device) * 2.0 - 1.0)
