"""ShadowHandDoorOpenOutward and ShadowHandDoorOpenInward: two hands open a double door; see doors.py."""

from dataclasses import dataclass, field

import torch

from harl_isaac.tasks.hands.doors import INWARD, OUTWARD, DoorCfg, DoorTask
from harl_isaac.tasks.hands.hand import PhysicsCfg, free_physics


@dataclass
class ShadowHandDoorOpenOutwardCfg(DoorCfg):
    """The leaves open away from the hands."""

    name: str = "ShadowHandDoorOpenOutward"
    physics: PhysicsCfg = field(default_factory=free_physics)  # these leaves yield to the hands

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandDoorOpenOutward":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandDoorOpenOutward(self, num_envs, device, sim)


class ShadowHandDoorOpenOutward(DoorTask):
    """Box(26) for each of two hands."""

    tail = OUTWARD


@dataclass
class ShadowHandDoorOpenInwardCfg(DoorCfg):
    """The leaves open to the hands."""

    name: str = "ShadowHandDoorOpenInward"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandDoorOpenInward":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandDoorOpenInward(self, num_envs, device, sim)


class ShadowHandDoorOpenInward(DoorTask):
    """Box(26) for each of two hands."""

    tail = INWARD
    inward = True
