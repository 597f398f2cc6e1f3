"""MixedGame: three kinds of agents, with a continuous action, a discrete one, and several choices at once.

Each step shows its targets: agent "reacher" must move to a point, "chooser" must name the largest of three numbers,
"dialler" must repeat two digits. The reward is the mean of three scores in [0, 1]; the optimum of an episode of 5 steps
is 5. Agents observe only their own target; the critic observes all.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, EnvSpec, MultiDiscrete, Step
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.base import TensorGame

STEPS = 5
REACH = 2.0  # the reacher's actions and targets lie within [0, REACH]


@dataclass
class MixedGameCfg(TaskCfg):
    """Three agents with observations of 4, 3 and 5 numbers."""

    name: str = "MixedGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "MixedGame":
        """Build the game; `sim` has no effect."""
        return MixedGame(num_envs, device)


class MixedGame(TensorGame):
    """Actions Box(2) within [0, 2], Discrete(3) and MultiDiscrete(2, 3)."""

    def __init__(self, num_envs: int, device: torch.device):
        super().__init__(
            EnvSpec(
                num_envs=num_envs,
                agents=("reacher", "chooser", "dialler"),
                obs_sizes=(4, 3, 5),
                actions=(Box(2, 0.0, REACH), Discrete(3), MultiDiscrete((2, 3))),
                state_size=12,
                max_episode_steps=STEPS,
                device=device,
                metrics=("success",),
            )
        )
        self.draw = torch.zeros(num_envs, 7, device=device)  # target 2, numbers 3, digits 2; all in [0, 1)
        self.choices = torch.tensor([0, 1, 0, 1, 2], device=device)
        self.all_right = torch.ones(num_envs, dtype=torch.bool, device=device)  # [E] in all steps so far

    def buffers(self) -> Dict[str, Tensor]:
        """Numbers of the steps, the targets, and whether all were met so far."""
        return {"count": self.count, "draw": self.draw, "all_right": self.all_right}

    def start_episodes(self) -> None:
        """Draw the first targets."""
        self.all_right.fill_(True)
        self._new_targets()

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Score the actions; a time limit ends the episode."""
        # A step's targets are over with the step: at a time limit they are shown by its successor too.
        next_obs, next_state = self.observe()
        reward, right = self._score(actions)
        self.all_right &= right
        self.count += 1
        truncated = self.count >= STEPS
        success = self.all_right.float() * truncated
        self.count.masked_fill_(truncated, 0)
        self.all_right |= truncated
        self._new_targets()
        obs, state = self.observe()
        rows = truncated[:, None]
        next_obs = tuple(torch.where(rows, old, new) for old, new in zip(next_obs, obs))
        next_state = torch.where(rows[:, None], next_state, state)
        return Step(
            obs,
            state,
            reward[:, None],
            torch.zeros_like(truncated),
            truncated,
            next_obs,
            next_state,
            {"success": success},
        )

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Point [E, 4], numbers [E, 3], digits one-hot [E, 5]; the state [E, 1, 12] is all of them."""
        digits = self._digits()
        both = torch.cat((digits[:, :1].expand(-1, 2), digits[:, 1:].expand(-1, 3)), 1)
        one_hot = both == self.choices  # torch's one_hot would read the digits on the host
        # Networks normalize their input, which would leave nothing of two numbers alone but their order.
        low = torch.nn.functional.pad(self.draw[:, :2], (0, 1), value=-1.0)
        point = torch.nn.functional.pad(low, (0, 1), value=1.0)
        obs = (point, self.draw[:, 2:5], one_hot.float())
        return obs, torch.cat(obs, 1)[:, None]

    def _new_targets(self) -> None:
        self.draw.copy_(torch.rand(self.draw.shape, generator=self.random, device=self.draw.device))

    def _digits(self) -> Tensor:
        """The dialler's two digits, [E, 2]."""
        return torch.stack((self.draw[:, 5] * 2.0, self.draw[:, 6] * 3.0), 1).long()

    def _score(self, actions: Tuple[Tensor, ...]) -> Tuple[Tensor, Tensor]:
        """Rewards [E], and whether all three agents met their targets, [E] bool."""
        distance = (actions[0] - REACH * self.draw[:, :2]).norm(dim=1)
        chosen = actions[1][:, 0] == self.draw[:, 2:5].argmax(1)
        dialled = (actions[2] == self._digits()).all(1)
        reward = (torch.exp(-distance) + chosen.float() + dialled.float()) / 3.0
        return reward, (distance < 0.3) & chosen & dialled
