"""Pusher: an arm of seven joints pushes a cylinder to a goal.

In mamujoco_v1 two of the shoulder's joints bear the wrist's name, which decides on their order in a local observation,
but not on which of the two comes first; here it is the lift.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.base import MamujocoCfg, MamujocoTask

ARM = 7  # joints
BODIES = ("tips_arm", "object", "goal")  # whose positions all agents observe
VELOCITY_NOISE = 0.005  # [rad/s] reset
START_X = (-0.3, 0.0)  # [m] reset: the cylinder's position relative to the goal
START_Y = (-0.2, 0.2)  # [m]
NEAREST = 0.17  # [m] least distance from the goal
DRAWS = 32  # of which one is far enough, but for 1 in 10^13


@dataclass
class PusherCfg(MamujocoCfg):
    """Agents: 3p (shoulder, elbow, wrist)."""

    name: str = "mamujoco/Pusher"
    agents: str = "3p"  # NxM consecutive joints, 3p, or joints such as r_shoulder_pan_joint+...,...
    near_cost: float = 0.5  # for each m from the fingertips to the cylinder
    distance_cost: float = 1.0  # for each m from the cylinder to the goal
    control_cost: float = 0.1  # for each squared unit of control
    episode_length: int = 100  # [control steps]

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Pusher":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Pusher(self, num_envs, device, sim)


class Pusher(MamujocoTask):
    """Box(3), Box(1), Box(3) within +-2; state 23. `distance` [m] is the cylinder's from the goal."""

    cfg: PusherCfg
    file = "pusher_v5.xml"
    substeps = 5
    fields = ("xpos",)
    extras = ("positions",)
    named = {
        "3p": "r_shoulder_pan_joint+r_shoulder_lift_joint+r_upper_arm_roll_joint,r_elbow_flex_joint,"
        "r_forearm_roll_joint+r_wrist_flex_joint+r_wrist_roll_joint"
    }
    labels = {"r_shoulder_pan_joint": "r_wrist_roll_joint", "r_shoulder_lift_joint": "r_wrist_roll_joint"}
    trunk = (("positions", tuple(range(3 * len(BODIES)))),)
    metrics = ("distance",)

    def load(self) -> None:
        """Read the model, and find the bodies in it."""
        super().load()
        self._bodies: List[int] = [self.model.body(name).id for name in BODIES]

    def features(self) -> Tuple[Tensor, ...]:
        """Positions of the bodies side by side, [E, 9] m."""
        return (torch.cat(self.positions(), 1),)

    def positions(self) -> List[Tensor]:
        """Positions of fingertips, cylinder and goal, 3 x [E, 3] m."""
        xpos = self.physics.derived["xpos"]
        return [xpos[:, body] for body in self._bodies]

    def state_columns(self) -> List[int]:
        """Columns of the critic's state: the arm's joints and the bodies' positions."""
        return [self.column(name, i) for name in ("qpos", "qvel") for i in range(ARM)] + self.all_columns("positions")

    def reward(self) -> Tensor:
        """Minus distances and effort, [E]."""
        cfg = self.cfg
        ctrl = self.physics.ctrl
        fingertips, cylinder, _ = self.positions()
        near = (cylinder - fingertips).norm(dim=1)
        return -(
            near * cfg.near_cost
            + self.distance() * cfg.distance_cost
            + torch.linalg.vecdot(ctrl, ctrl) * cfg.control_cost
        )

    def distance(self) -> Tensor:
        """Distance from the cylinder to the goal, [E] m."""
        _, cylinder, goal = self.positions()
        return (cylinder - goal).norm(dim=1)

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Distance from the cylinder to the goal, now."""
        return {"distance": self.distance().float()}

    def reset_rows(self, mask: Tensor) -> None:
        """Start with the cylinder at a random position, not too near the goal, where mask [E] is true."""
        count = self.spec.num_envs
        device = self.spec.device
        draws = torch.stack((self.uniform(*START_X, DRAWS), self.uniform(*START_Y, DRAWS)), 2)
        first = (draws.norm(dim=2) > NEAREST).float().argmax(1)
        start = draws.gather(1, first[:, None, None].expand(-1, 1, 2))[:, 0]
        rate = self.uniform(-VELOCITY_NOISE, VELOCITY_NOISE, ARM)
        zeros = torch.zeros((count, 4), device=device)
        qpos = torch.cat((self._rest[:ARM].expand(count, -1), start, zeros[:, :2]), 1)
        self.physics.set_state(mask, qpos, torch.cat((rate, zeros), 1))
        self.physics.ctrl.masked_fill_(mask[:, None], 0.0)
