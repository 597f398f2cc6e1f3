"""ShadowHandPushBlock: each hand pushes a block to a place of its own (Bi-DexterousHands, Chen et al., 2022).

Observation 229, 5 zeros at its end, state 428, ends and the rest as in its code (commit dc41afd). A hand's action is
force 3 and torque 3 on its base, then 20 joint targets. Repaired in `fixed`: each block has its own goal; in
task.compat=original reward and success take the left one for both, as there. A base's angles are those from its mount;
in `original` within [0, 2 pi), as there. In both modes the time limit is a truncation, bases start at rest, blocks
start on the table, which is fixed, and not 2.5 cm within it, a reset leaves other environments' blocks alone, half a
success (the left block alone) counts as none, and the hands pass through each other, as there. Neither mode is PhysX:
contacts and limits are MuJoCo's; a block and the table rub with 0.75, PhysX's mean; over.py says what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import TOP, WIDE, PressedHandsCfg, TableTask, goal_place, padding

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

GOALS = {"left goal": (-0.2, -0.2, 0.625), "right goal": (-0.2, 0.2, 0.625)}  # [m]
FAR = 1.2  # [m] sum of distances that ends the episode
THERE = 0.1  # [m] of a block from its goal, success


@dataclass
class ShadowHandPushBlockCfg(PressedHandsCfg):
    """A block under each hand's fingers."""

    name: str = "ShadowHandPushBlock"
    episode_length: int = 125  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandPushBlock":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandPushBlock(self, num_envs, device, sim)


class ShadowHandPushBlock(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    hands_meet = False
    tail = (
        *(pose("object"), velocity("object"), point("right block"), point("left block")),
        *(goal_place("left goal"), goal_place("right goal"), padding(5)),
    )

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table, the blocks and their goals."""
        from harl_isaac.tasks.hands.table_objects import add_block_goal, add_blocks, add_table

        super().build(scene)
        add_table(scene, WIDE, friction=0.5)
        add_blocks(scene, TOP, y=0.2, friction=0.75)
        for name, pos in GOALS.items():
            add_block_goal(scene, name, pos)

    @classmethod
    def verdict(cls, s: Signals, right_goal: str = "right goal") -> Verdict:
        """Nearness of the hands to their blocks, and of the right and the left block to their goals."""
        right = cls.reach(s, "right", "right block")
        left = cls.reach(s, "left", "left block")
        from_right = (s.point("right block") - s.goal(right_goal).pos).norm(dim=1)
        from_left = (s.point("left block") - s.goal("left goal").pos).norm(dim=1)
        reward = (FAR - right) + (FAR - left) + 5.0 - 5.0 * from_left - 5.0 * from_right
        success = (from_left <= THERE) & (from_right <= THERE)
        return Verdict(reward, success, (right >= FAR) | (left >= FAR))

    def evaluate(self) -> None:
        """Compute the verdict on the step; of compat=original with the left goal for both blocks."""
        own = "right goal" if self.cfg.compat == "fixed" else "left goal"
        self._verdict = self.verdict(self.signals, own)

    def start_objects(self, mask: Tensor, qpos: Tensor) -> None:
        """Place the goals; the blocks start as built."""
        for name, pos in GOALS.items():
            goal = self.goals[name]
            place = goal.pos.new_tensor(pos)
            self.set_goal(name, mask, place, goal.quat.new_tensor((0.0, 0.0, 0.0, 1.0)))
