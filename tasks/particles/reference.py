"""simple_reference: each of two agents knows the landmark that the other is to go to, and tells it in words of its own making.

An agent earns local_ratio x minus the distance of the other from the landmark that it was to be told, and
(1 - local_ratio) x the mean of both. `distance` [m] is that mean; an episode is a success if at its end both agents are
within 0.1 m of their landmarks.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.particles.base import (
    REACHED,
    ParticleCfg,
    ParticleTask,
    Sight,
    check_ratio,
    distance,
    landmark_sights,
    own,
)


@dataclass
class SimpleReferenceCfg(ParticleCfg):
    """Two agents, three landmarks, ten words."""

    name: str = "mpe/simple_reference"
    local_ratio: float = 0.5  # share of an agent's own part in the reward

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SimpleReference":
        return SimpleReference(self, num_envs, device)


class SimpleReference(ParticleTask):
    """Box(15) within [0, 1], five of a push and ten of words, or Discrete(50) each; observation 21, state 42."""

    names = ("agent_0", "agent_1")
    landmarks = 3
    movers = speakers = (0, 1)
    words = 10
    palette = ((0.75, 0.25, 0.25), (0.25, 0.75, 0.25), (0.25, 0.25, 0.75))
    goals = 2
    radius = landmark_radius = 0.05

    def __init__(
        self, cfg: SimpleReferenceCfg, num_envs: int, device: torch.device, dtype: torch.dtype = torch.float32
    ):
        check_ratio(cfg.local_ratio)
        super().__init__(cfg, num_envs, device, dtype)

    def sights(self) -> List[List[Sight]]:
        """Own velocity, landmarks, the color of the other's goal, what the other says."""
        return [
            own("velocity", 2 * i, 2)
            + landmark_sights(i, self.landmarks)
            + own("color", 3 * i, 3)
            + own("speech", self.words * (1 - i), self.words)
            for i in (0, 1)
        ]

    def score(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        left = distance(self.agent.flip(1), self.goal)  # [E, 2] of the other from the goal that an agent knows
        mean = left.mean(1, keepdim=True)
        success = (left < REACHED).all(1) & ended
        rewards = left * -self.cfg.local_ratio - mean * (1.0 - self.cfg.local_ratio)
        return rewards, {"success": success.float(), "distance": mean[:, 0].float()}

    def agent_colors(self) -> Tensor:
        """Of the landmark that an agent is to go to."""
        return self.goal_color.unflatten(1, (-1, 3)).flip(1)
