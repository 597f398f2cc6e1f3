"""ShadowHandGraspAndPlace: a block is to be put into a bucket (Bi-DexterousHands, Chen et al., 2022).

Observation 226, with the orientations of the bucket's link and of the block, state 425, rewards and ends as in its code
(commit dc41afd). A hand's action is force 3 and torque 3 on its base, then 20 joint targets. Repaired in `fixed`:
success is a block within 0.05 m of the bucket's middle, which outside of it, beside, above or below, is 0.07 m away at
least; in task.compat=original within 0.2 m, as there, where nothing need be placed. A base's angles are those from its
mount; in `original` within [0, 2 pi), as there. In both modes the time limit is a truncation, bases start at rest,
bucket and block start on the table, which is fixed, and not 5.3 and 2.5 cm within it, the end at exp(-10 S) <= 0,
which never comes, is left out, and the hands pass through each other, as there. Neither mode is PhysX: contacts and
limits are MuJoCo's, the bucket is that of bucket.py, and over.py says what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.observation import orientation, point, pose, velocity
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import TOP, WIDE, PressedHandsCfg, TableTask

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

LINK = (0.5, -0.5, -0.5, 0.5)  # xyzw, of the bucket's link in its body: the mesh has y up
Y = 0.2  # [m] of the bucket; the block's is -0.2
RATE = 10.0  # [1/m] of all rewards
FAR = 1.5  # [m] sum of distances that ends the episode
WITHIN = 0.05  # [m] of the block from the bucket's middle, success
NEARBY = 0.2  # [m] the originals'


@dataclass
class ShadowHandGraspAndPlaceCfg(PressedHandsCfg):
    """A bucket for the right hand, a block for the left."""

    name: str = "ShadowHandGraspAndPlace"
    episode_length: int = 500  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandGraspAndPlace":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandGraspAndPlace(self, num_envs, device, sim)


class ShadowHandGraspAndPlace(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    hands_meet = False
    tail = (
        *(pose("object"), velocity("object"), point("bucket"), orientation("object", LINK)),
        *(point("left block"), orientation("block")),
    )

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table, the bucket and the block."""
        from harl_isaac.tasks.hands.bucket import BUCKET_LIFT, add_bucket
        from harl_isaac.tasks.hands.table_objects import BLUE, add_block, add_table

        super().build(scene)
        add_table(scene, WIDE)
        add_bucket(scene, "object", (0.0, Y, TOP + BUCKET_LIFT))
        scene.add_point("bucket", "object")
        add_block(scene, "block", "left block", TOP, -Y, friction=1.0, rgba=BLUE)

    @classmethod
    def verdict(cls, s: Signals, within: float = WITHIN) -> Verdict:
        """Nearness of the right hand to the bucket, of the left to the block, and of these to each other."""
        right = cls.reach(s, "right", "bucket")
        left = cls.reach(s, "left", "left block")
        apart = (s.point("bucket") - s.point("left block")).norm(dim=1)
        reward = torch.exp(-RATE * right) + torch.exp(-RATE * left) + 2.0 * torch.exp(-RATE * apart)
        return Verdict(reward, apart < within, (right >= FAR) | (left >= FAR))

    def evaluate(self) -> None:
        """Compute the verdict on the step; of compat=original with success from near by."""
        self._verdict = self.verdict(self.signals, WITHIN if self.cfg.compat == "fixed" else NEARBY)
