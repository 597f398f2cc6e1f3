"""A game for agents of different kinds: a continuous one, a discrete one and one with several choices at once.

Each step shows a hidden-in-plain-sight target: agent "reacher" must move to a point, "chooser" must name the larger of
three numbers, "dialler" must repeat two digits. The reward is the mean of three scores in [0, 1]; the optimum of an
episode of 5 steps is 5. Agents see only their own part; the critic sees everything.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, EnvSpec, MultiDiscrete, Step
from harl_isaac.settings import TaskCfg

STEPS = 5
REACH = 2.0  # the reacher's actions and targets lie within [0, REACH]


@dataclass
class MixedGameCfg(TaskCfg):
    """Three agents with observations of 4, 3 and 5 numbers."""

    name: str = "MixedGame"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "MixedGame":
        return MixedGame(num_envs, device)


class MixedGame:
    """Box(2) within [0, 2], Discrete(3), MultiDiscrete(2, 3)."""

    def __init__(self, num_envs: int, device: torch.device):
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=("reacher", "chooser", "dialler"),
            obs_sizes=(4, 3, 5),
            actions=(Box(2, 0.0, REACH), Discrete(3), MultiDiscrete((2, 3))),
            state_size=12,
            max_episode_steps=STEPS,
            device=device,
            metrics=("success",),
        )
        self.random = torch.Generator(device=device)
        self.count = torch.zeros(num_envs, dtype=torch.long, device=device)
        self.draw = torch.zeros(num_envs, 7, device=device)  # target 2, numbers 3, digits 2; all in [0, 1)
        self.choices = torch.tensor([0, 1, 0, 1, 2], device=device)
        self.all_right = torch.ones(num_envs, dtype=torch.bool, device=device)

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.random.manual_seed(seed)
        self.count.zero_()
        self.all_right.fill_(True)
        self._new_targets()
        return Step.first(self.spec, *self._observe())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        next_obs, next_state = self._observe()  # the target of a step is over with the step: it is its successor too
        reward, right = self._score(actions)
        self.all_right &= right
        self.count += 1
        truncated = self.count >= STEPS
        success = self.all_right.float() * truncated
        self.count.masked_fill_(truncated, 0)
        self.all_right |= truncated
        self._new_targets()
        obs, state = self._observe()
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

    def state_dict(self) -> Dict[str, Any]:
        return {
            "count": self.count.clone(),
            "draw": self.draw.clone(),
            "all_right": self.all_right.clone(),
            "random": self.random.get_state(),
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        for name in ("count", "draw", "all_right"):
            getattr(self, name).copy_(state[name])
        self.random.set_state(state["random"])

    def close(self) -> None:
        """Nothing to release."""

    def _new_targets(self) -> None:
        self.draw.copy_(torch.rand(self.draw.shape, generator=self.random, device=self.draw.device))

    def _digits(self) -> Tensor:
        return torch.stack((self.draw[:, 5] * 2.0, self.draw[:, 6] * 3.0), 1).long()

    def _observe(self):
        digits = self._digits()
        dial = (
            torch.cat((digits[:, :1].expand(-1, 2), digits[:, 1:].expand(-1, 3)), 1) == self.choices
        )  # one_hot would read the digits on the host
        # Networks normalize their input, which would leave nothing of two numbers alone but their order.
        point = torch.nn.functional.pad(
            torch.nn.functional.pad(self.draw[:, :2], (0, 1), value=-1.0), (0, 1), value=1.0
        )
        obs = (point, self.draw[:, 2:5], dial.float())
        return obs, torch.cat(obs, 1)[:, None]

    def _score(self, actions: Tuple[Tensor, ...]):
        distance = (actions[0] - REACH * self.draw[:, :2]).norm(dim=1)
        chosen = actions[1][:, 0] == self.draw[:, 2:5].argmax(1)
        dialled = (actions[2] == self._digits()).all(1)
        reward = (torch.exp(-distance) + chosen.float() + dialled.float()) / 3.0
        return reward, (distance < 0.3) & chosen & dialled
