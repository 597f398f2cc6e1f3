"""Hopper: a planar leg hops without falling. Agents and critic observe velocities clipped to +-10."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.running import ClippedTask, UprightCfg, within


@dataclass
class HopperCfg(UprightCfg):
    """Agents: 3x1 (thigh, leg, foot)."""

    name: str = "mamujoco/Hopper"
    agents: str = "3x1"  # NxM consecutive joints, or joints such as thigh_joint+leg_joint,foot_joint
    control_cost: float = 1e-3  # for each squared unit of control
    reset_noise: float = 5e-3  # [m, rad, m/s, rad/s] around the rest pose
    lowest: float = 0.7  # [m] healthy above
    largest_tilt: float = 0.2  # [rad] healthy below
    largest_state: float = 100.0  # [m, rad, m/s, rad/s] healthy while every other position and velocity is below

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Hopper":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Hopper(self, num_envs, device, sim)


class Hopper(ClippedTask):
    """Box(1) for each of three agents; state 11."""

    cfg: HopperCfg
    file = "hopper.xml"
    substeps = 4
    velocity = "clipped qvel"

    def healthy(self) -> Tensor:
        """Environments whose body stands upright and is not too fast, [E] bool."""
        cfg = self.cfg
        qpos = self.physics.qpos
        largest = torch.cat((qpos[:, 2:], self.physics.qvel), 1).abs().amax(1)
        upright = within(qpos[:, 2], -cfg.largest_tilt, cfg.largest_tilt)
        return (qpos[:, 1] > cfg.lowest) & upright & (largest < cfg.largest_state)
