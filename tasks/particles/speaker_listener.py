"""simple_speaker_listener: a speaker that cannot move sees which landmark it is, a listener must go there.

Both earn minus the square of the listener's distance from it. `distance` [m] is that distance; an episode is a success if
it is below 0.1 m at its end.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.particles.base import REACHED, ParticleCfg, ParticleTask, Sight, distance, landmark_sights, own


@dataclass
class SimpleSpeakerListenerCfg(ParticleCfg):
    """Two agents, three landmarks, three words."""

    name: str = "mpe/simple_speaker_listener"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SimpleSpeakerListener":
        return SimpleSpeakerListener(self, num_envs, device)


class SimpleSpeakerListener(ParticleTask):
    """Box(3) and Box(5) within [0, 1], or Discrete(3) and Discrete(5); observations 3 and 11, state 14."""

    names = ("speaker_0", "listener_0")
    landmarks = 3
    movers = (1,)
    speakers = (0,)
    words = 3
    palette = ((0.65, 0.15, 0.15), (0.15, 0.65, 0.15), (0.15, 0.15, 0.65))
    goals = 1
    radius = 0.075
    landmark_radius = 0.04

    def sights(self) -> List[List[Sight]]:
        """The speaker: the goal's color. The listener: its velocity, landmarks, what the speaker says."""
        return [
            own("color", 0, 3),
            own("velocity", 0, 2) + landmark_sights(1, self.landmarks) + own("speech", 0, self.words),
        ]

    def score(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        left = distance(self.agent[:, 1:], self.goal)  # [E, 1]
        success = (left[:, 0] < REACHED) & ended
        return left.square().neg().expand(-1, 2), {"success": success.float(), "distance": left[:, 0].float()}

    def agent_colors(self) -> Tensor:
        """The listener's is that of the landmark that it is to go to, a shade lighter."""
        listener = self.goal_color[:, None] + 0.3
        return torch.cat((torch.full_like(listener, 0.25), listener), 1)
