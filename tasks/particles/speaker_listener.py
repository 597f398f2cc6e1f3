"""simple_speaker_listener: a speaker that cannot move observes which landmark is the goal, a listener must go there.

Both earn minus the square of the listener's distance from it. `distance` [m] is that distance; an episode is a success
if it is below 0.1 m at its end.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.particles.base import REACHED, ParticleCfg, ParticleTask
from harl_isaac.tasks.particles.geometry import distance
from harl_isaac.tasks.particles.observation import ObservationTerm, identity_terms, landmark_terms


@dataclass
class SimpleSpeakerListenerCfg(ParticleCfg):
    """Two agents, three landmarks, three words."""

    name: str = "mpe/simple_speaker_listener"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SimpleSpeakerListener":
        """Build the scenario; `sim` has no effect. Raises ValueError for settings that mean nothing."""
        return SimpleSpeakerListener(self, num_envs, device)


class SimpleSpeakerListener(ParticleTask):
    """Box(3) and Box(5) within [0, 1], or Discrete(3) and Discrete(5); observations 3 and 11, state 14."""

    names = ("speaker_0", "listener_0")
    landmarks = 3
    mobile_agents = (1,)
    speakers = (0,)
    words = 3
    palette = ((0.65, 0.15, 0.15), (0.15, 0.65, 0.15), (0.15, 0.15, 0.65))
    goals = 1
    radius = 0.075
    landmark_radius = 0.04

    def observation_terms(self) -> List[List[ObservationTerm]]:
        """The speaker: the goal's color. The listener: its velocity, landmarks, the speaker's words."""
        return [
            identity_terms("color", 0, 3),
            identity_terms("velocity", 0, 2)
            + landmark_terms(1, self.landmarks)
            + identity_terms("speech", 0, self.words),
        ]

    def reward_and_metrics(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Minus the listener's squared distance from the goal, for both; success and distance."""
        left = distance(self.agent[:, 1:], self.goal)  # [E, 1]
        success = (left[:, 0] < REACHED) & ended
        return left.square().neg().expand(-1, 2), {"success": success.float(), "distance": left[:, 0].float()}

    def agent_colors(self) -> Tensor:
        """Gray for the speaker; for the listener its landmark's color, a shade lighter: [E, 2, 3]."""
        listener = self.goal_color[:, None] + 0.3
        return torch.cat((torch.full_like(listener, 0.25), listener), 1)
