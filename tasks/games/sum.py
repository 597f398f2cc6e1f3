"""A continuous game of coordination: each step shows a goal to both agents, and their actions must add up to it.

The reward is exp(-|x + y1 - y2 - goal|); the optimum of an episode of 5 steps, which a time limit ends, is 5. Whatever one
agent does, the other can make up for it, so that two who learn at once correct the same error twice.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, Step
from harl_isaac.settings import TaskCfg

STEPS = 5
CLOSE = 0.2  # an episode whose sums all lie as close as this is a success


@dataclass
class SumGameCfg(TaskCfg):
    """Two agents whose actions have different widths and bounds."""

    name: str = "SumGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SumGame":
        return SumGame(num_envs, device)


class SumGame:
    """x within [-3, 1] sees [goal]; (y1, y2) within [0, 2] see [goal, 1 - goal]; the state is [goal]."""

    def __init__(self, num_envs: int, device: torch.device):
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=("one", "two"),
            obs_sizes=(1, 2),
            actions=(Box(1, -3.0, 1.0), Box(2, 0.0, 2.0)),
            state_size=1,
            max_episode_steps=STEPS,
            device=device,
            metrics=("success",),
        )
        self.random = torch.Generator(device=device)
        self.count = torch.zeros(num_envs, dtype=torch.long, device=device)
        self.goal = torch.zeros(num_envs, 1, device=device)  # within [-1, 1)
        self.all_close = torch.ones(num_envs, dtype=torch.bool, device=device)

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.random.manual_seed(seed)
        self.count.zero_()
        self.all_close.fill_(True)
        self._new_goals()
        return Step.first(self.spec, *self._observe())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        one, two = actions
        distance = (one + two[:, :1] - two[:, 1:] - self.goal).abs()
        self.all_close &= distance[:, 0] < CLOSE
        self.count += 1
        truncated = self.count >= STEPS
        success = (self.all_close & truncated).float()
        self.count.masked_fill_(truncated, 0)
        self.all_close |= truncated
        self._new_goals()
        obs, state = (
            self._observe()
        )  # every goal is drawn alike: an ended episode's successor is like the next one's start
        reward = torch.exp(-distance)
        never = torch.zeros_like(truncated)
        return Step(obs, state, reward, never, truncated, obs, state, {"success": success})

    def state_dict(self) -> Dict[str, Any]:
        return {
            "count": self.count.clone(),
            "goal": self.goal.clone(),
            "all_close": self.all_close.clone(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        for name in ("count", "goal", "all_close"):
            getattr(self, name).copy_(state[name])
        self.random.set_state(state["random"])

    def close(self) -> None:
        """Nothing to release."""

    def _new_goals(self) -> None:
        self.goal.copy_(torch.rand(self.goal.shape, generator=self.random, device=self.goal.device) * 2.0 - 1.0)

    def _observe(self):
        return (self.goal.clone(), torch.cat((self.goal, 1.0 - self.goal), 1)), self.goal[:, None].clone()
