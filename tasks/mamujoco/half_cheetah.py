"""HalfCheetah: a planar cheetah runs, until the time limit. Its joints are a chain from hind foot to fore foot."""

from dataclasses import dataclass

import torch

from harl_isaac.tasks.mamujoco.running import RunningCfg, RunningTask


@dataclass
class HalfCheetahCfg(RunningCfg):
    """Agents: 2x3 (hind leg, fore leg), 3x2, 6x1."""

    name: str = "mamujoco/HalfCheetah"
    agents: str = "2x3"  # NxM consecutive joints, or joints such as bthigh+bshin+bfoot,fthigh+fshin+ffoot

    def make(self, num_envs: int, device: torch.device, sim: str) -> "HalfCheetah":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return HalfCheetah(self, num_envs, device, sim)


class HalfCheetah(RunningTask):
    """Box(3) for each of two agents by default; state 17."""

    cfg: HalfCheetahCfg
    file = "half_cheetah.xml"
    substeps = 5
    normal_velocity = True
