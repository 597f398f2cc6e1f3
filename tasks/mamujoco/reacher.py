"""Reacher: two joints bring a fingertip to a target in the plane. Angles are seen as sine and cosine.

The target is drawn uniformly from a disc of 0.2 m, as gymnasium's draws and rejections amount to.
"""

import math
from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.base import MamujocoCfg, MamujocoTask

ARM = 2  # joints
POSE_NOISE = 0.1  # [rad] reset
VELOCITY_NOISE = 0.005  # [rad/s] reset
TARGET_RADIUS = 0.2  # [m]


@dataclass
class ReacherCfg(MamujocoCfg):
    """Agents: 2x1 (shoulder, elbow)."""

    name: str = "mamujoco/Reacher"
    agents: str = "2x1"  # or 1x2
    distance_cost: float = 1.0  # for each m from the target
    control_cost: float = 1.0  # for each squared unit of control
    episode_length: int = 50  # [control steps]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Reacher":
        return Reacher(self, num_envs, device, sim)


class Reacher(MamujocoTask):
    """Box(1) for each of two agents; state 10. `distance` [m] is the fingertip's from the target."""

    file = "reacher.xml"
    substeps = 2
    fields = ("xpos",)
    extras = ("sin", "cos", "reach")
    near = ("qpos", "qvel", "reach")
    trunk = (("qpos", (2, 3)),)
    metrics = ("distance",)

    def load(self) -> None:
        super().load()
        self._fingertip, self._target = (self.model.body(name).id for name in ("fingertip", "target"))

    def features(self) -> Tuple[Tensor, ...]:
        angles = self.physics.qpos[:, :ARM]
        return angles.sin(), angles.cos(), self.reach()

    def reach(self) -> Tensor:
        """[E, 3] m from the target to the fingertip."""
        return self.physics.xpos[:, self._fingertip] - self.physics.xpos[:, self._target]

    def joint_columns(self, joint: str, name: str) -> List[int]:
        number = self._actuated.index(joint)
        if name == "qpos":
            return [self.column("sin", number), self.column("cos", number)]
        if name == "reach":
            return self.all_columns("reach") if number == ARM - 1 else []
        return super().joint_columns(joint, name)

    def state_columns(self) -> List[int]:
        joints = [self.column(name, i) for name in ("cos", "sin") for i in range(ARM)]
        return (
            joints
            + self.all_columns("qpos", ARM)
            + [self.column(name, i) for name in ("qvel", "reach") for i in (0, 1)]
        )

    def reward(self) -> Tensor:
        ctrl = self.physics.ctrl
        return (
            -self.reach().norm(dim=1) * self.cfg.distance_cost - torch.linalg.vecdot(ctrl, ctrl) * self.cfg.control_cost
        )

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        return {"distance": self.reach().norm(dim=1).float()}

    def reset_rows(self, mask: Tensor) -> None:
        pose = self.uniform(-POSE_NOISE, POSE_NOISE, ARM)
        rate = self.uniform(-VELOCITY_NOISE, VELOCITY_NOISE, ARM)
        draw = self.uniform(0.0, 1.0, 2)
        radius = TARGET_RADIUS * draw[:, :1].sqrt()
        angle = 2 * math.pi * draw[:, 1:]
        qpos = torch.cat((self._rest[:ARM] + pose, radius * angle.cos(), radius * angle.sin()), 1)
        self.physics.set_state(mask, qpos, torch.cat((rate, torch.zeros_like(rate)), 1))
        self.physics.ctrl.masked_fill_(mask[:, None], 0.0)
