"""ShadowHandCatchOver2Underarm: a hand that stands upright throws down to one that lies; see catch.py."""

from dataclasses import dataclass

import torch

from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.throws import CatchCfg, Throw, ThrowTask, throw_tail


@dataclass
class ShadowHandCatchOver2UnderarmCfg(CatchCfg):
    """The object starts on the right hand's fingertips."""

    name: str = "ShadowHandCatchOver2Underarm"
    joint_noise: float = 0.0
    position_noise: float = 0.0

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandCatchOver2Underarm":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandCatchOver2Underarm(self, num_envs, device, sim)


class ShadowHandCatchOver2Underarm(ThrowTask):
    """A hand's root that drifts 0.1 m ends the episode. Box(26) for each of two hands."""

    mounts = MOUNTS["over2underarm"]
    base = free_base(0.1, 2.0)
    throws = (Throw("object", "goal", start=(0.0, 0.05, 1.0), end=(0.0, -0.40, 0.55)),)
    tail = throw_tail(*throws)
    leashes = (("right root", mounts[0].pos), ("left root", mounts[1].pos))
    distance_scale = 20.0
    drop_height = 0.3
    camera = ((1.25, -0.35, 0.9), (0, 1, 0, -0.15, 0, 0.99))
