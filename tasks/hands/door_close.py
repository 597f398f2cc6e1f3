"""ShadowHandDoorCloseInward and ShadowHandDoorCloseOutward: two hands close a double door; see doors.py."""

from dataclasses import dataclass

import torch

from harl_isaac.tasks.hands.doors import INWARD, OUTWARD, DoorCfg, DoorTask
from harl_isaac.tasks.hands.layout import DOOR_OPEN, MOUNTS


@dataclass
class ShadowHandDoorCloseInwardCfg(DoorCfg):
    """The leaves stand open to the hands."""

    name: str = "ShadowHandDoorCloseInward"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandDoorCloseInward":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandDoorCloseInward(self, num_envs, device, sim)


class ShadowHandDoorCloseInward(DoorTask):
    """Box(26) for each of two hands, which are apart at the start."""

    mounts = MOUNTS["close inward"]
    tail = INWARD
    inward = True
    start = DOOR_OPEN


@dataclass
class ShadowHandDoorCloseOutwardCfg(DoorCfg):
    """The leaves stand open away from the hands, which fly through the doorway to them."""

    name: str = "ShadowHandDoorCloseOutward"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandDoorCloseOutward":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandDoorCloseOutward(self, num_envs, device, sim)


class ShadowHandDoorCloseOutward(DoorTask):
    """Box(26) for each of two hands; handles are far, so that more is allowed and every step earns more."""

    tail = OUTWARD
    start = DOOR_OPEN
    bonus = 6.0
    farthest = 3.0
