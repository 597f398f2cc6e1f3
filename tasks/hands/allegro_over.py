"""AllegroHandOver: ShadowHandOver with Allegro hands, 0.25 m to throw (Chen et al., 2022; code at commit dc41afd).

Observation 207 and action 16 for each hand, state 390, reward, noise, end, limits and drives as there; of a hand's 183
numbers the 135 between velocities and actions are zero, as there. Repaired here: the time limit is a truncation;
success is ShadowHandOver's, where theirs asks for a distance of zero exactly and never counts; start angles, all zero,
are brought within the joints' limits, which the thumb's first is not (task.compat=original: both as there).
Boxes and capsules collide, theirs are meshes; allegro_hand.py says where the model is from, robot_model.py what of a
hand meets itself.
"""

from dataclasses import dataclass, field

import torch

from harl_isaac.tasks.hands.allegro_hand import ALLEGRO_HAND
from harl_isaac.tasks.hands.hand import PhysicsCfg, own_gains
from harl_isaac.tasks.hands.layout import MOUNTS
from harl_isaac.tasks.hands.throws import Throw, ThrowsCfg, ThrowTask, throw_tail

FACING = ((0.55, -0.2, 0.75), (0, 1, 0, -0.35, 0, 0.94))  # camera [m] and the picture's axes


@dataclass
class AllegroHandOverCfg(ThrowsCfg):
    """Two fixed hands with their own gains; the object alone has noise at the start."""

    name: str = "AllegroHandOver"
    joint_noise: float = 0.0
    position_noise: float = 0.005
    physics: PhysicsCfg = field(default_factory=own_gains)

    def make(self, num_envs: int, device: torch.device, sim: str) -> "AllegroHandOver":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings, MissingSimulator."""
        return AllegroHandOver(self, num_envs, device, sim)


class AllegroHandOver(ThrowTask):
    """Two agents (or groups of index, middle, ring, thumb) with Box(16) actions; see the module's first lines."""

    cfg: AllegroHandOverCfg
    hand = ALLEGRO_HAND
    mounts = MOUNTS["allegro over"]
    throws = (Throw("object", "goal", start=(0.0, -0.1, 0.56), end=(0.0, -0.35, 0.56)),)
    layout = ("joint angles", "joint velocities", 135, "last action")
    tail = throw_tail(*throws)
    camera = FACING

    def evaluate(self) -> None:
        """Compute the verdict on the step; of compat=original with success at distance zero alone."""
        super().evaluate()
        if self.cfg.compat == "original":
            distances, _ = self.errors(self.signals)
            self._verdict = self._verdict._replace(success=distances[0] <= 0.0)
