"""ShadowHandSwingCup: the hands turn a cup around by its two handles (Bi-DexterousHands, Chen et al., 2022).

Observation 218, state 417, rewards, end and success as in its code (commit dc41afd); the goal, half a turn from the
start, is not observed, as there. A hand's action is force 3 and torque 3 on its base, then 20 joint targets. In both
modes of task.compat the time limit is a truncation, bases start at rest, the cup stands on the table and not 8.4 cm
within it, and its lid is fixed to it (there it can be lifted by 11 cm). A base's angles are those from its mount; with
task.compat=original they are within [0, 2 pi), as there. Neither mode is PhysX: contacts and limits are MuJoCo's, and
over.py says what else differs. As there, a step far from the handles costs, so that a longer life lowers the return.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.quaternions import rotation_angle
from harl_isaac.tasks.hands.settings import FreeHandsCfg
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import TOP, TableTask

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

TABLE = (0.3, 0.3, TOP)  # [m] size
AROUND = (0.0, 0.0, math.sin(0.75 * math.pi), math.cos(0.75 * math.pi))  # xyzw, the goal: 1.5 pi about z
NEAR = 0.4  # [m] sum of distances below which turning counts
TURNING = 5.0  # [rad] of the reward
TURNED = 0.785  # [rad] from the goal, success
FALLEN = 0.3  # [m] height of the cup that ends the episode


@dataclass
class ShadowHandSwingCupCfg(FreeHandsCfg):
    """A cup between the hands."""

    name: str = "ShadowHandSwingCup"
    episode_length: int = 300  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandSwingCup":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandSwingCup(self, num_envs, device, sim)


class ShadowHandSwingCup(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    mounts = MOUNTS["swing cup"]
    base = free_base(0.1, 0.1)
    tail = (pose("object"), velocity("object"), point("right handle"), point("left handle"))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table and the cup."""
        from harl_isaac.tasks.hands.table_objects import add_table
        from harl_isaac.tasks.hands.vessels import add_cup

        super().build(scene)
        add_table(scene, TABLE)
        add_cup(scene, TOP)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the hands to the handles, and how far the cup is turned once both are near."""
        right = cls.reach(s, "right", "right handle")
        left = cls.reach(s, "left", "left handle")
        cup = s.pose("object")
        angle = rotation_angle(cup.quat, s.constant(AROUND))
        turning = ((right < NEAR) & (left < NEAR)) * (TURNING / (angle + 0.1) - 1.0)
        return Verdict(turning - right - left, angle < TURNED, cup.pos[:, 2] <= FALLEN)
