"""ShadowHandBottleCap: one hand holds a bottle, the other takes its cap off (Bi-DexterousHands, Chen et al., 2022).

Observation 221, state 420, rewards, ends and success as in its code (commit dc41afd). A hand's action is force 3 and
torque 3 on its base, then 20 joint targets. In both modes of task.compat the time limit is a truncation, bases start at
rest, and the bottle is thinner than there, where it starts 7 mm within palm and thumb. It lies in an open hand, which
must close at once, or else the bottle tips over within 20 steps. Its cap slides, against a spring and a drag that the
original writes, and turns about its own axis (there about one 9 mm beside it, with a spring; nothing reads the turn). A
base's angles are those from its mount; with task.compat=original they are within [0, 2 pi), as there. Neither mode is
PhysX: contacts, friction and limits are MuJoCo's; vessels.py says what the bottle is, over.py what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harl_isaac.tasks.hands.hand import Vector
from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.reaching import ReachTask
from harl_isaac.tasks.hands.settings import FreeHandsCfg
from harl_isaac.tasks.hands.signals import Signals, Verdict

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

BOTTLE: Vector = (0.0, -0.6, 0.5)  # [m]
TABLE = (0.3, 0.3, 0.1)  # [m] size
THUMB = {"THJ4": -1.04, "THJ3": 1.2, "THJ0": -1.57}  # [rad] at the start, where other joints are at 0
NEAR = 0.3  # [m] sum of distances below which lifting counts
LIFTED = 0.03  # [m] of the cap from the bottle's frame, success; at the start it is 0.0103
LOW = 0.5  # [m] height of the neck that ends the episode
FAR = {"right": 0.5, "left": 0.2}  # [m] of the palms from neck and bottle that ends it


@dataclass
class ShadowHandBottleCapCfg(FreeHandsCfg):
    """A bottle in the left hand, and the right hand above its cap."""

    name: str = "ShadowHandBottleCap"
    episode_length: int = 125  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandBottleCap":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandBottleCap(self, num_envs, device, sim)


class ShadowHandBottleCap(ReachTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    mounts = MOUNTS["bottle cap"]
    base = free_base(0.1, 0.1)
    tail = (pose("object"), velocity("object"), point("bottle"), point("neck"), point("cap"))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table and the bottle."""
        from harl_isaac.tasks.hands.table_objects import add_table
        from harl_isaac.tasks.hands.vessels import add_bottle

        super().build(scene)
        add_table(scene, TABLE, at=(0.0, -0.6))
        add_bottle(scene, BOTTLE)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the right hand to the neck and of the left palm to the bottle, and how far the cap is off."""
        right = cls.reach(s, "right", "neck")
        held = (s.point("bottle") - s.point("left palm")).norm(dim=1)
        above = (s.point("neck") - s.point("right palm")).norm(dim=1)
        lifted = (s.point("cap") - s.point("bottle")).norm(dim=1)
        failed = (s.point("neck")[:, 2] <= LOW) | (above >= FAR["right"]) | (held >= FAR["left"])
        return Verdict(2.0 - right - held + (right <= NEAR) * 30.0 * lifted, lifted > LIFTED, failed)

    def random_hand_joints(self) -> Tensor:
        """Start angles of both hands, [E, 2 x joints] rad, drawn around the thumbs' start."""
        start = self._joint_low.new_tensor([THUMB.get(joint, 0.0) for joint in self.hand.joints] * 2)
        angles = super().random_hand_joints() + (1.0 - self.curriculum.value("joint_noise")) * start
        return angles.clamp(self._joint_low, self._joint_high) if self.cfg.compat == "fixed" else angles
