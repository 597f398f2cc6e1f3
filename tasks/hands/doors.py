"""Base of the four double doors of Bi-DexterousHands (Chen et al., 2022; code at commit dc41afd).

A hand's action is force 3 and torque 3 on its base, then 20 joint targets. Observation 218 (13 of it are the constant
pose and velocity of the door's frame), state 417, rewards, ends and success as there. In both modes of task.compat the
time limit is a truncation, bases and leaves start at rest (there leaves to be closed start at 1.57 rad/s, against their
limit), and the door is that of double_door.py. A base's angles are those from its mount; with task.compat=original they
are within [0, 2 pi), as there. `original` is their formulas, not their engine, which is PhysX: limits and contacts
are MuJoCo's, and over.py says what differs. All points are one substep old.
"""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from torch import Tensor

from harl_isaac.tasks.hands.hand import PhysicsCfg, pressed_physics
from harl_isaac.tasks.hands.layout import DOOR, MOUNTS, free_base
from harl_isaac.tasks.hands.observation import point
from harl_isaac.tasks.hands.reaching import ReachTask, fixed_body
from harl_isaac.tasks.hands.settings import FreeHandsCfg
from harl_isaac.tasks.hands.signals import Signals, Verdict

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

GRASP = 0.5  # [m] sum of a hand's distances below which it holds the handle
HANDLES = (point("left handle"), point("right handle"))
OUTWARD = (fixed_body("door", DOOR, (0.0, 0.0, 0.0, 1.0)),) + HANDLES
INWARD = (fixed_body("door", DOOR, (0.0, 1.0, 0.0, 0.0)),) + HANDLES


@dataclass
class DoorCfg(FreeHandsCfg):
    """Settings of every task with a door."""

    episode_length: int = 250  # [control steps of 1/60 s]
    physics: PhysicsCfg = field(default_factory=pressed_physics)


class DoorTask(ReachTask):
    """Handles to reach, and a door to open or to close; success is measured by how far apart the handles are."""

    mounts = MOUNTS["door"]
    base = free_base(0.5, 0.5)
    inward = False  # whether the door opens to the hands
    start = 0.0  # [rad] of both leaves, to which their springs pull
    bonus = 2.0  # in the reward of each step
    farthest = 1.5  # [m] sum of a hand's distances that ends the episode
    opened = 0.5  # [m] of the handles from each other along y
    camera = ((2.05, -1.54, 1.6), (0.6, 0.8, 0, -0.264, 0.198, 0.944))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the door."""
        from harl_isaac.tasks.hands.double_door import add_double_door

        super().build(scene)
        add_double_door(scene, self.inward, rest=self.start)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of each hand to its handle and, while both hold theirs, how far the door is open or closed."""
        right = cls.reach(s, "right", "right handle")
        left = cls.reach(s, "left", "left handle")
        gap = (s.point("right handle") - s.point("left handle"))[:, 1].abs()
        progress = 1.0 - 2.0 * gap if cls.start else 2.0 * gap
        reward = cls.bonus - right - left + progress * ((right < GRASP) & (left < GRASP))
        success = gap < cls.opened if cls.start else gap > cls.opened
        return Verdict(reward, success, (right >= cls.farthest) | (left >= cls.farthest))

    def start_objects(self, mask: Tensor, qpos: Tensor) -> None:
        """Turn the leaves to their start."""
        for hinge in ("right hinge", "left hinge"):
            qpos[:, self.signals.columns(hinge)] = self.start
