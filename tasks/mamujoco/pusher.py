"""Pusher: an arm of seven joints pushes a cylinder to a goal.

In mamujoco_v1 two of the shoulder's joints bear the wrist's name, which decides where they stand in a local observation, but
not which comes first of the two; here the lift does.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.base import MamujocoCfg, MamujocoTask

ARM = 7  # joints
SEEN = ("tips_arm", "object", "goal")  # bodies whose places all agents see
VELOCITY_NOISE = 0.005  # [rad/s] reset
# [m] reset: the cylinder's place beside the goal
START_X = (-0.3, 0.0)
START_Y = (-0.2, 0.2)
NEAREST = 0.17  # [m] from the goal
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
        return Pusher(self, num_envs, device, sim)


class Pusher(MamujocoTask):
    """Box(3), Box(1), Box(3) within +-2; state 23. `distance` [m] is the cylinder's from the goal."""

    file = "pusher_v5.xml"
    substeps = 5
    fields = ("xpos",)
    extras = ("places",)
    named = {
        "3p": "r_shoulder_pan_joint+r_shoulder_lift_joint+r_upper_arm_roll_joint,r_elbow_flex_joint,"
        "r_forearm_roll_joint+r_wrist_flex_joint+r_wrist_roll_joint"
    }
    labels = {"r_shoulder_pan_joint": "r_wrist_roll_joint", "r_shoulder_lift_joint": "r_wrist_roll_joint"}
    trunk = (("places", tuple(range(3 * len(SEEN)))),)
    metrics = ("distance",)

    def load(self) -> None:
        super().load()
        self._bodies = [self.model.body(name).id for name in SEEN]

    def features(self) -> Tuple[Tensor, ...]:
        return (torch.cat(self.places(), 1),)

    def places(self) -> List[Tensor]:
        """3 x [E, 3] m: fingertips, cylinder, goal."""
        return [self.physics.xpos[:, body] for body in self._bodies]

    def state_columns(self) -> List[int]:
        return [self.column(name, i) for name in ("qpos", "qvel") for i in range(ARM)] + self.all_columns("places")

    def reward(self) -> Tensor:
        cfg = self.cfg
        ctrl = self.physics.ctrl
        fingertips, cylinder, _ = self.places()
        near = (cylinder - fingertips).norm(dim=1)
        return -(
            near * cfg.near_cost
            + self.distance() * cfg.distance_cost
            + torch.linalg.vecdot(ctrl, ctrl) * cfg.control_cost
        )

    def distance(self) -> Tensor:
        """[E] m from the cylinder to the goal."""
        _, cylinder, goal = self.places()
        return (cylinder - goal).norm(dim=1)

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        return {"distance": self.distance().float()}

    def reset_rows(self, mask: Tensor) -> None:
        count = self.spec.num_envs
        device = self.spec.device
        draws = torch.stack((self.uniform(*START_X, DRAWS), self.uniform(*START_Y, DRAWS)), 2)
        first = (draws.norm(dim=2) > NEAREST).float().argmax(1)
        start = draws.gather(1, first[:, None, None].expand(-1, 1, 2))[:, 0]
        rate = self.uniform(-VELOCITY_NOISE, VELOCITY_NOISE, ARM)
        nothing = torch.zeros((count, 4), device=device)
        qpos = torch.cat((self._rest[:ARM].expand(count, -1), start, nothing[:, :2]), 1)
        self.physics.set_state(mask, qpos, torch.cat((rate, nothing), 1))
        self.physics.ctrl.masked_fill_(mask[:, None], 0.0)
