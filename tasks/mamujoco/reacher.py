"""Reacher: two joints bring a fingertip to a target in the plane. Angles are observed as sine and cosine.

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
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Reacher(self, num_envs, device, sim)


class Reacher(MamujocoTask):
    """Box(1) for each of two agents; state 10. `distance` [m] is the fingertip's from the target."""

    cfg: ReacherCfg
    file = "reacher.xml"
    substeps = 2
    fields = ("xpos",)
    extras = ("sin", "cos", "reach")
    near = ("qpos", "qvel", "reach")
    trunk = (("qpos", (2, 3)),)
    metrics = ("distance",)

    def load(self) -> None:
        """Read the model, and find fingertip and target in it."""
        super().load()
        self._fingertip: int = self.model.body("fingertip").id
        self._target: int = self.model.body("target").id

    def features(self) -> Tuple[Tensor, ...]:
        """Sines [E, 2] and cosines [E, 2] of the arm's angles, and the reach [E, 3] m."""
        angles = self.physics.qpos[:, :ARM]
        return angles.sin(), angles.cos(), self.reach()

    def reach(self) -> Tensor:
        """Vector from the target to the fingertip, [E, 3] m."""
        xpos = self.physics.derived["xpos"]
        return xpos[:, self._fingertip] - xpos[:, self._target]

    def joint_columns(self, joint: str, name: str) -> List[int]:
        """Columns of one joint's values of a feature; the elbow's agent observes the reach."""
        number = self._actuated.index(joint)
        if name == "qpos":
            return [self.column("sin", number), self.column("cos", number)]
        if name == "reach":
            return self.all_columns("reach") if number == ARM - 1 else []
        return super().joint_columns(joint, name)

    def state_columns(self) -> List[int]:
        """Columns of the critic's state: angles, the target, the arm's velocities, the reach in the plane."""
        angles = [self.column(name, i) for name in ("cos", "sin") for i in range(ARM)]
        rest = [self.column(name, i) for name in ("qvel", "reach") for i in (0, 1)]
        return angles + self.all_columns("qpos", ARM) + rest

    def reward(self) -> Tensor:
        """Minus distance and effort, [E]."""
        ctrl = self.physics.ctrl
        effort = torch.linalg.vecdot(ctrl, ctrl) * self.cfg.control_cost
        return -self.reach().norm(dim=1) * self.cfg.distance_cost - effort

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Distance from the target, now."""
        return {"distance": self.reach().norm(dim=1).float()}

    def reset_rows(self, mask: Tensor) -> None:
        """Start near the rest pose with a new target where mask [E] is true."""
        pose = self.uniform(-POSE_NOISE, POSE_NOISE, ARM)
        rate = self.uniform(-VELOCITY_NOISE, VELOCITY_NOISE, ARM)
        draw = self.uniform(0.0, 1.0, 2)
        radius = TARGET_RADIUS * draw[:, :1].sqrt()
        angle = 2 * math.pi * draw[:, 1:]
        qpos = torch.cat((self._rest[:ARM] + pose, radius * angle.cos(), radius * angle.sin()), 1)
        self.physics.set_state(mask, qpos, torch.cat((rate, torch.zeros_like(rate)), 1))
        self.physics.ctrl.masked_fill_(mask[:, None], 0.0)
