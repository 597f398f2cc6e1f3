"""LeapHandOver: the throw of AllegroHandOver with LEAP hands, which the originals do not have.

A hand observes what ShadowHandOver's does: joint angles 16, velocities 16 and torques 16, fingertips 52, forces on them
24, last action 16; then the throw's 24. Observation 164 and action 16 for each hand, state 304. Reward, noise, end,
drives and success are AllegroHandOver's; the fingers are where its fingers are. leap_hand.py says where the model is
from.
"""

from dataclasses import dataclass

import torch

from harl_isaac.tasks.hands.allegro_over import FACING, AllegroHandOver, AllegroHandOverCfg
from harl_isaac.tasks.hands.layout import MOUNTS
from harl_isaac.tasks.hands.leap_hand import LEAP_HAND
from harl_isaac.tasks.hands.throws import ThrowTask, throw_tail


@dataclass
class LeapHandOverCfg(AllegroHandOverCfg):
    """Two fixed hands with their own gains; the object alone has noise at the start."""

    name: str = "LeapHandOver"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "LeapHandOver":  # type: ignore[override]
        """Build the task on the engine `sim`. Raises ValueError for impossible settings, MissingSimulator."""
        return LeapHandOver(self, num_envs, device, sim)


class LeapHandOver(ThrowTask):
    """Two agents (or groups of index, middle, ring, thumb) with Box(16) actions; see the module's first lines."""

    cfg: LeapHandOverCfg
    hand = LEAP_HAND
    mounts = MOUNTS["leap over"]
    throws = AllegroHandOver.throws
    tail = throw_tail(*throws)
    camera = FACING
