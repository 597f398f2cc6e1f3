"""simple_reference: each of two agents knows the landmark of the other, and tells it in words of its own making.

An agent earns local_ratio x minus the distance of the other from the landmark that it was to be told, and
(1 - local_ratio) x the mean of both. `distance` [m] is that mean; an episode is a success if at its end both agents are
within 0.1 m of their landmarks.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.particles.base import REACHED, ParticleCfg, ParticleTask, check_ratio
from harl_isaac.tasks.particles.geometry import distance
from harl_isaac.tasks.particles.observation import ObservationTerm, identity_terms, landmark_terms


@dataclass
class SimpleReferenceCfg(ParticleCfg):
    """Two agents, three landmarks, ten words."""

    name: str = "mpe/simple_reference"
    local_ratio: float = 0.5  # fraction of an agent's own part in the reward

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SimpleReference":
        """Build the scenario; `sim` has no effect. Raises ValueError for settings that mean nothing."""
        return SimpleReference(self, num_envs, device)


class SimpleReference(ParticleTask):
    """Box(15) within [0, 1], five of a push and ten of words, or Discrete(50) each; observation 21, state 42."""

    cfg: SimpleReferenceCfg
    names = ("agent_0", "agent_1")
    landmarks = 3
    mobile_agents = (0, 1)
    speakers = (0, 1)
    words = 10
    palette = ((0.75, 0.25, 0.25), (0.25, 0.75, 0.25), (0.25, 0.25, 0.75))
    goals = 2
    radius = 0.05
    landmark_radius = 0.05

    def __init__(
        self, cfg: SimpleReferenceCfg, num_envs: int, device: torch.device, dtype: torch.dtype = torch.float32
    ):
        check_ratio(cfg.local_ratio)
        super().__init__(cfg, num_envs, device, dtype)

    def observation_terms(self) -> List[List[ObservationTerm]]:
        """Own velocity, landmarks, the color of the other's goal, the other's words."""
        return [
            identity_terms("velocity", 2 * i, 2)
            + landmark_terms(i, self.landmarks)
            + identity_terms("color", 3 * i, 3)
            + identity_terms("speech", self.words * (1 - i), self.words)
            for i in (0, 1)
        ]

    def reward_and_metrics(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Minus the distances from the goals, own and mean; success and mean distance."""
        left = distance(self.agent.flip(1), self.goal)  # [E, 2] of the other from the goal that an agent knows
        mean = left.mean(1, keepdim=True)
        success = (left < REACHED).all(1) & ended
        rewards = left * -self.cfg.local_ratio - mean * (1.0 - self.cfg.local_ratio)
        return rewards, {"success": success.float(), "distance": mean[:, 0].float()}

    def agent_colors(self) -> Tensor:
        """Colors of the landmarks to which the agents are to go, [E, 2, 3]."""
        return self.goal_color.unflatten(1, (-1, 3)).flip(1)
