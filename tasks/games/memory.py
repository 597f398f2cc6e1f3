"""A game of memory: each agent sees a cue in the first step of an episode and nothing after it, and must name the cue in the
last step.

The optimum is 1. Agents that act on what they see alone guess: (1/2 + 1/3) / 2 = 0.417. Episodes of environment e last
1 + delay + e % 3 steps, so that they start at different times in different environments.
"""

from dataclasses import dataclass
from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Discrete, EnvSpec, Step
from harl_isaac.settings import TaskCfg

CUES = (2, 3)  # each agent's number of cues, which is its number of choices
LENGTHS = 3  # different lengths of episodes


@dataclass
class MemoryGameCfg(TaskCfg):
    """Settings of the memory game."""

    name: str = "MemoryGame"
    delay: int = 3  # steps without a cue in the shortest episodes

    def make(self, num_envs: int, device: torch.device, sim: str) -> "MemoryGame":
        """Raises ValueError."""
        if self.delay < 1:
            raise ValueError(f"task.delay={self.delay}: what is in sight needs no memory, give 1 or more")
        return MemoryGame(self, num_envs, device)


class MemoryGame:
    """Agents see their cue one-hot, [2] and [3], then zeros; the state [7] is both cues, time passed and time left."""

    def __init__(self, cfg: MemoryGameCfg, num_envs: int, device: torch.device):
        self.longest = cfg.delay + LENGTHS
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=("two", "three"),
            obs_sizes=CUES,
            actions=tuple(Discrete(cues) for cues in CUES),
            state_size=sum(CUES) + 2,
            max_episode_steps=self.longest,
            device=device,
            metrics=("success",),
        )
        self.random = torch.Generator(device=device)
        self.length = 1 + cfg.delay + torch.arange(num_envs, device=device) % LENGTHS
        self.count = torch.zeros(num_envs, dtype=torch.long, device=device)
        self.cue = torch.zeros(num_envs, len(CUES), dtype=torch.long, device=device)
        self.sizes = torch.tensor(CUES, device=device)
        self.choices = [torch.arange(cues, device=device) for cues in CUES]

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.random.manual_seed(seed)
        self.count.zero_()
        self._new_cues(self.count == 0)
        return Step.first(self.spec, *self._observe())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        right = torch.cat(actions, 1) == self.cue
        self.count += 1
        next_obs, next_state = self._observe()
        done = self.count >= self.length
        reward = right.to(next_state.dtype).mean(1) * done
        self.count.masked_fill_(done, 0)
        self._new_cues(done)
        obs, state = self._observe()
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

    def state_dict(self) -> Dict[str, Any]:
        return {"count": self.count.clone(), "cue": self.cue.clone(), "random": self.random.get_state()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.count.copy_(state["count"])
        self.cue.copy_(state["cue"])
        self.random.set_state(state["random"])

    def close(self) -> None:
        """Nothing to release."""

    def _new_cues(self, rows: Tensor) -> None:
        """Draw for all, so that what one environment gets does not depend on when others end."""
        drawn = torch.rand(self.cue.shape, generator=self.random, device=self.cue.device)
        self.cue.copy_(torch.where(rows[:, None], (drawn * self.sizes).long(), self.cue))

    def _observe(self):
        cues = [(self.cue[:, i : i + 1] == choices).float() for i, choices in enumerate(self.choices)]
        shown = (self.count == 0)[:, None]
        time = torch.stack((self.count, self.length - self.count), 1).float() / self.longest
        return tuple(cue * shown for cue in cues), torch.cat(cues + [time], 1)[:, None]
