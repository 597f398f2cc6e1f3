"""MemoryGame: each agent observes a cue in the first step of an episode only, and must name it in the last step.

The optimum is 1. Agents without memory can only guess: (1/2 + 1/3) / 2 = 0.417. Episodes of environment e last
1 + delay + e % 3 steps, so that they start at different times in different environments.
"""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import MOST_STEPS, TaskCfg, check_ranges
from harl_isaac.tasks.games.base import TensorGame

CUES = (2, 3)  # each agent's number of cues, which is its number of choices
LENGTHS = 3  # different lengths of episodes


@dataclass
class MemoryGameCfg(TaskCfg):
    """Settings of the memory game."""

    name: str = "MemoryGame"
    delay: int = 3  # [steps] without a cue in the shortest episodes

    def make(self, num_envs: int, device: torch.device, sim: str) -> "MemoryGame":
        """Build the game; `sim` has no effect. Raises ValueError for an impossible delay."""
        check_ranges(self, [("delay", 1, MOST_STEPS)], "task")  # what is in sight needs no memory
        return MemoryGame(self, num_envs, device)


class MemoryGame(TensorGame):
    """Agents observe their cue one-hot, [2] and [3], then zeros; the state [7] is both cues, time passed, time left."""

    def __init__(self, cfg: MemoryGameCfg, num_envs: int, device: torch.device):
        self.longest = cfg.delay + LENGTHS
        super().__init__(
            EnvSpec(
                num_envs=num_envs,
                agents=("two", "three"),
                obs_sizes=CUES,
                actions=tuple(Discrete(cues) for cues in CUES),
                state_size=sum(CUES) + 2,
                max_episode_steps=self.longest,
                device=device,
                metrics=("success",),
            )
        )
        self.length = 1 + cfg.delay + torch.arange(num_envs, device=device) % LENGTHS  # [E] steps of an episode
        self.cue = torch.zeros(num_envs, len(CUES), dtype=torch.long, device=device)
        self.sizes = torch.tensor(CUES, device=device)
        self.choices = [torch.arange(cues, device=device) for cues in CUES]

    def buffers(self) -> Dict[str, Tensor]:
        """Numbers of the steps, and the cues."""
        return {"count": self.count, "cue": self.cue}

    def start_episodes(self) -> None:
        """Draw all cues."""
        self._new_cues(self.count == 0)

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Reward the share of agents that name their cue in an episode's last step."""
        right = torch.cat(actions, 1) == self.cue
        self.count += 1
        next_obs, next_state = self.observe()
        done = self.count >= self.length
        reward = right.to(next_state.dtype).mean(1) * done
        self.count.masked_fill_(done, 0)
        self._new_cues(done)
        obs, state = self.observe()
        return Step(
            obs,
            state,
            reward[:, None],
            done,
            torch.zeros_like(done),
            next_obs,
            next_state,
            {"success": (right.all(1) & done).to(state.dtype)},
        )

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Cues one-hot [E, 2] and [E, 3], zeros after the first step; the state [E, 1, 7]."""
        cues = [(self.cue[:, i : i + 1] == choices).float() for i, choices in enumerate(self.choices)]
        shown = (self.count == 0)[:, None]
        time = torch.stack((self.count, self.length - self.count), 1).float() / self.longest
        return tuple(cue * shown for cue in cues), torch.cat([*cues, time], 1)[:, None]

    def _new_cues(self, rows: Tensor) -> None:
        """New cues where `rows` [E] is true.

        Drawn for all, so that an environment's cues do not depend on when others end.
        """
        drawn = torch.rand(self.cue.shape, generator=self.random, device=self.cue.device)
        self.cue.copy_(torch.where(rows[:, None], (drawn * self.sizes).long(), self.cue))
