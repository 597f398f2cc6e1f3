"""Catching between hands that fly: four tasks of Bi-DexterousHands (Chen et al., 2022; code at commit dc41afd).

A hand's action is force 3 and torque 3 on its base, then 20 joint targets. Observation 223 (two objects 247), state 422
(446), rewards, noise, ends and success as there. In both modes of task.compat the time limit is a truncation, a base
starts at rest, and the hands pass through each other, as there. Repaired in `fixed`: start angles stay within limits
and are drawn for each hand; a base's angles are those from its mount, where the originals' jump from 0 to 2 pi.
`original` is their formulas, not their engine: over.py says what differs. Ends by drift read points one substep old.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from harl_isaac.tasks.hands.hand import SIDES
from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.throws import CatchCfg, Throw, ThrowTask, throw_tail

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder

SIDE_VIEW = ((1.0, -0.575, 0.8), (0, 1, 0, -0.3, 0, 0.95))  # camera [m] and the picture's axes


@dataclass
class ShadowHandCatchUnderarmCfg(CatchCfg):
    """The hands face each other, and the throw is 0.4 m."""

    name: str = "ShadowHandCatchUnderarm"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandCatchUnderarm":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandCatchUnderarm(self, num_envs, device, sim)


class ShadowHandCatchUnderarm(ThrowTask):
    """Box(26) for each of two hands (or for groups of fingers, the base with the palm)."""

    mounts = MOUNTS["underarm"]
    base = free_base(0.05, 0.5)
    throws = (Throw("object", "goal", start=(0.0, -0.39, 0.54), end=(0.0, -0.79, 0.54)),)
    tail = throw_tail(*throws)
    drop_height = 0.1
    camera = SIDE_VIEW


@dataclass
class ShadowHandTwoCatchUnderarmCfg(CatchCfg):
    """Each hand throws an object to the other."""

    name: str = "ShadowHandTwoCatchUnderarm"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandTwoCatchUnderarm":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandTwoCatchUnderarm(self, num_envs, device, sim)


class ShadowHandTwoCatchUnderarm(ThrowTask):
    """Both objects have the same noise and orientation at the start, both goals one orientation."""

    mounts = MOUNTS["underarm"]
    base = free_base(0.05, 0.5)
    throws = (
        Throw("object", "goal", start=(0.0, -0.39, 0.54), end=(0.0, -0.79, 0.54)),
        Throw("second object", "second goal", start=(0.0, -0.78, 0.54), end=(0.0, -0.38, 0.54)),
    )
    tail = throw_tail(throws[0]) + throw_tail(throws[1])
    camera = SIDE_VIEW


@dataclass
class ShadowHandCatchAbreastCfg(CatchCfg):
    """The hands are side by side, and the throw is 0.6 m."""

    name: str = "ShadowHandCatchAbreast"
    episode_length: int = 150  # [control steps of 1/60 s]
    joint_noise: float = 0.0
    position_noise: float = 0.0

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandCatchAbreast":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandCatchAbreast(self, num_envs, device, sim)


class ShadowHandCatchAbreast(ThrowTask):
    """A palm that drifts 0.1 m ends the episode."""

    mounts = MOUNTS["abreast"]
    base = free_base(0.5, 1.0)
    throws = (Throw("object", "goal", start=(-0.39, -0.55, 0.54), end=(-0.39, -1.15, 0.54)),)
    tail = throw_tail(*throws)
    leashes = (("right palm frame", (-0.3, -0.55, 0.5)), ("left palm frame", (-0.3, -1.15, 0.5)))
    camera = ((-1.45, -0.85, 1.0), (0, -1, 0, 0.35, 0, 0.94))

    def build(self, scene: "SceneBuilder") -> None:
        """Add the object, its goal, and the origins of the palms' frames."""
        super().build(scene)
        for side in SIDES:
            scene.add_point(f"{side} palm frame", self.hand.full_name(side, self.hand.palm))
