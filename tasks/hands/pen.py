"""ShadowHandPen: one hand pulls a pen's cap off, the other holds it (Bi-DexterousHands, Chen et al., 2022).

Observation 218, state 417, rewards, ends and success as in its code (commit dc41afd). A hand's action is force 3 and
torque 3 on its base, then 20 joint targets. In both modes of task.compat the time limit is a truncation, the pen starts
clear of the table, which is fixed, and the end at exp(-10 S) <= 0, which never comes, is left out. A base's angles are
those from its mount; with task.compat=original they are within [0, 2 pi), as there. Neither mode is PhysX: contacts,
limits and the cap's spring and drag are MuJoCo's, and over.py says what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import NARROW, TOP, PressedHandsCfg, TableTask

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

NEAR = 0.75  # [m] sum of distances below which pulling counts
FAR = 1.5  # [m] that ends the episode
RATE = 10.0  # [1/m] of the reward for reaching
PULL = 5.0  # [1/m] of the reward for pulling
CLOSED = 0.8  # taken off it; the closed pen's is 0.85
PULLED = 1.5  # success: 0.3 m, 0.13 of them pulled


@dataclass
class ShadowHandPenCfg(PressedHandsCfg):
    """A pen that lies between the hands."""

    name: str = "ShadowHandPen"
    episode_length: int = 125  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandPen":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandPen(self, num_envs, device, sim)


class ShadowHandPen(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    tail = (pose("object"), velocity("object"), point("cap"), point("barrel"))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table and the pen."""
        from harl_isaac.tasks.hands.table_objects import add_capped_stick, add_table

        super().build(scene)
        add_table(scene, NARROW)
        add_capped_stick(scene, TOP)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the hands to cap and pen, and how far the cap is from the pen once both are near."""
        right = cls.reach(s, "right", "cap")
        left = cls.reach(s, "left", "barrel")
        pull = PULL * (s.point("cap") - s.point("barrel")).norm(dim=1)
        both_near = (right < NEAR) & (left < NEAR)
        reaching = torch.exp(-RATE * right) + torch.exp(-RATE * left)
        return Verdict(reaching + both_near * (pull - CLOSED), pull > PULLED, (right >= FAR) | (left >= FAR))
