"""ShadowHandBlockStack: the hands stack two blocks (Bi-DexterousHands, Chen et al., 2022).

Observation 229, 4 zeros at its end, state 428, rewards, ends and success as in its code (commit dc41afd). A hand's
action is force 3 and torque 3 on its base, then 20 joint targets. In both modes of task.compat the time limit is a
truncation, the table is fixed, and the end at a sum of distances of 0, which never comes, is left out. A base's angles
are those from its mount; with task.compat=original they are within [0, 2 pi), as there. Neither mode is PhysX: contacts
and limits are MuJoCo's; hands' friction is 1, where it is 0.5 there; over.py says what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.observation import pose, velocity
from harl_isaac.tasks.hands.settings import FreeHandsCfg
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import NARROW, TOP, TableTask, padding
from harl_isaac.tasks.hands.throws import distance_to

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

UPPER = (0.0, 0.0, 0.675)  # [m] where the left block belongs
LOWER = (0.0, 0.0, 0.625)  # [m] where the right block belongs
HELD = 0.5  # [m] sum of distances below which bringing the blocks counts
FAR = 0.75  # [m] that ends the episode
BROUGHT = 0.07  # [m] from its place, of each block


@dataclass
class ShadowHandBlockStackCfg(FreeHandsCfg):
    """A block in front of each hand."""

    name: str = "ShadowHandBlockStack"
    episode_length: int = 250  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandBlockStack":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandBlockStack(self, num_envs, device, sim)


class ShadowHandBlockStack(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    mounts = MOUNTS["block stack"]
    base = free_base(0.2, 0.02)
    tail = (pose("object"), velocity("object"), pose("block"), velocity("block"), padding(4))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table and the blocks."""
        from harl_isaac.tasks.hands.table_objects import add_blocks, add_table

        super().build(scene)
        add_table(scene, NARROW, friction=0.2)
        add_blocks(scene, TOP, y=0.1, friction=0.25)

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the hands to their blocks, of the blocks to their places, and the height of the upper one."""
        right = cls.reach(s, "right", "right block")
        left = cls.reach(s, "left", "left block")
        upper = distance_to(s.point("left block"), UPPER)
        lower = distance_to(s.point("right block"), LOWER)
        bringing = ((right < HELD) & (left < HELD)) * 2.0 * (0.24 - upper - lower)
        height_error = (s.point("left block")[:, 2] - UPPER[2]).abs()
        stacking = ((upper < BROUGHT) & (lower < BROUGHT)) * 50.0 * (0.05 - height_error)
        reward = 1.5 - right - left + bringing + stacking
        return Verdict(reward, stacking > 1.0, (right >= FAR) | (left >= FAR))
