"""ShadowHandScissors: each hand takes a grip to open scissors (Bi-DexterousHands, Chen et al., 2022).

Observation 218, state 417, rewards, ends and success as in its code (commit dc41afd). A hand's action is force 3 and
torque 3 on its base, then 20 joint targets. In both modes of task.compat the time limit is a truncation, the scissors
start clear of the table, which is fixed, and the end at a hinge below -0.69 rad, beyond its limit, is left out. A
base's angles are those from its mount; with task.compat=original they are within [0, 2 pi), as there. Neither mode is
PhysX: contacts and limits are MuJoCo's, and over.py says what else differs. As there, a step far from the grips costs,
so that a longer life lowers the return at first.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import NARROW, TOP, PressedHandsCfg, TableTask

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

NEAR = 0.7  # [m] sum of distances below which opening counts
FAR = 1.75  # [m] that ends the episode
BONUS = 2.0  # of each step
OPENING = 5.0  # [1/rad] of the reward
CLOSED = -0.59  # [rad] of the hinge
OPEN = -0.3  # [rad] success


@dataclass
class ShadowHandScissorsCfg(PressedHandsCfg):
    """Scissors that lie closed between the hands."""

    name: str = "ShadowHandScissors"
    episode_length: int = 150  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandScissors":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandScissors(self, num_envs, device, sim)


class ShadowHandScissors(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    tail = (pose("object"), velocity("object"), point("right grip"), point("left grip"))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table and the scissors."""
        from harl_isaac.tasks.hands.table_objects import add_scissors, add_table

        super().build(scene)
        add_table(scene, NARROW)
        add_scissors(scene, TOP)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the hands to the grips, and the opening once both are near."""
        right = cls.reach(s, "right", "right grip")
        left = cls.reach(s, "left", "left grip")
        hinge = s.joint("hinge")
        opening = ((right < NEAR) & (left < NEAR)) * OPENING * (hinge - CLOSED)
        return Verdict(BONUS - right - left + opening, hinge > OPEN, (right >= FAR) | (left >= FAR))
