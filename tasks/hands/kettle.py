"""ShadowHandKettle: one hand holds a kettle's spout over the other's bucket (Bi-DexterousHands, Chen et al., 2022).

Observation 218, state 417, rewards, end and the rest as in its code (commit dc41afd); the spout is not observed, as
there. A hand's action is force 3 and torque 3 on its base, then 20 joint targets. Repaired in `fixed`: the point of the
bucket, which is to be held and to be met by the spout, is the bucket's middle, 4.5 cm below its rim; in
task.compat=original it is 5 cm below the bucket, as there. A base's angles are those from its mount; in `original`
within [0, 2 pi), as there. In both modes the time limit is a truncation, kettle and bucket start on the table, which is
fixed, and not 2.6 and 4.7 cm above it, the kettle's lid is fixed to it, the 30 balls that nothing reads are left out,
and the hands pass through each other, as there. Neither mode is PhysX: contacts and limits are MuJoCo's; vessels.py and
bucket.py say what the objects are, over.py what else differs.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.layout import MOUNTS
from harl_isaac.tasks.hands.observation import point, pose, velocity
from harl_isaac.tasks.hands.signals import Signals, Verdict
from harl_isaac.tasks.hands.table import PressedHandsCfg, TableTask

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

TABLE = (0.5, 1.0, 0.4)  # [m] size
BUCKET_PLACE = (0.0, -0.3)  # [m] x, y
BELOW = -0.1  # [m] of the point of compat=original from the bucket's frame
NEAR = 0.7  # [m] sum of distances below which pouring counts
POURING = 0.05  # [m] of the spout from the bucket's point, success
FALLEN = 0.2  # [m] height of the bucket's point that ends the episode


@dataclass
class ShadowHandKettleCfg(PressedHandsCfg):
    """A kettle and a bucket between the hands."""

    name: str = "ShadowHandKettle"
    episode_length: int = 125  # [control steps of 1/60 s]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandKettle":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandKettle(self, num_envs, device, sim)


class ShadowHandKettle(TableTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    mounts = MOUNTS["door"]
    hands_meet = False
    tail = (pose("object"), velocity("object"), point("handle"), point("bucket"))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the table, the kettle and the bucket."""
        from harl_isaac.tasks.hands.bucket import BUCKET_LIFT, add_bucket
        from harl_isaac.tasks.hands.table_objects import BLUE, add_table
        from harl_isaac.tasks.hands.vessels import add_kettle

        super().build(scene)
        add_table(scene, TABLE)
        add_kettle(scene, TABLE[2])
        add_bucket(scene, "bucket", (*BUCKET_PLACE, TABLE[2] + BUCKET_LIFT), rgba=BLUE)
        height = BELOW if self.cfg.compat == "original" else 0.0
        scene.add_point("bucket", "bucket", (0.0, 0.0, height))

    @classmethod
    def verdict(cls, s: Signals) -> Verdict:
        """Nearness of the hands to handle and bucket, and of the spout to the bucket once both are near."""
        right = cls.reach(s, "right", "handle")
        left = cls.reach(s, "left", "bucket")
        apart = (s.point("bucket") - s.point("spout")).norm(dim=1)
        pouring = ((right < NEAR) & (left < NEAR)) * (0.5 - 2.0 * apart)
        return Verdict(1.0 - right - left + pouring, apart < POURING, s.point("bucket")[:, 2] <= FALLEN)
