"""Walker2d: planar legs walk without falling. The state has velocities clipped to +-10, local observations do not."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.running import ClippedTask, UprightCfg, within


@dataclass
class Walker2dCfg(UprightCfg):
    """Agents: 2x3 (right leg, left leg, each from the foot up as in mamujoco_v1), 3x2, 6x1."""

    name: str = "mamujoco/Walker2d"
    agents: str = "2x3"  # NxM consecutive joints, or joints such as thigh_joint+leg_joint+foot_joint,...
    control_cost: float = 1e-3  # for each squared unit of control
    reset_noise: float = 5e-3  # [m, rad, m/s, rad/s] around the rest pose
    lowest: float = 0.8  # [m] healthy above
    highest: float = 2.0  # [m] healthy below
    largest_tilt: float = 1.0  # [rad] healthy below

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Walker2d":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Walker2d(self, num_envs, device, sim)


class Walker2d(ClippedTask):
    """Box(3) for each of two agents by default; state 17."""

    cfg: Walker2dCfg
    file = "walker2d_v5.xml"
    substeps = 4
    named = {"2x3": "foot_joint+leg_joint+thigh_joint,foot_left_joint+leg_left_joint+thigh_left_joint"}

    def healthy(self) -> Tensor:
        """Environments whose body stands upright at the right height, [E] bool."""
        cfg = self.cfg
        qpos = self.physics.qpos
        return within(qpos[:, 1], cfg.lowest, cfg.highest) & within(qpos[:, 2], -cfg.largest_tilt, cfg.largest_tilt)
