"""Named values of a scene that rewards, ends and observations are made of."""

from typing import Dict, List, NamedTuple, Tuple

import torch
from torch import Tensor

from harl_isaac.sim.physics import Physics
from harl_isaac.tasks.hands.addresses import Addresses
from harl_isaac.tasks.hands.quaternions import rotate

FREE_JOINT = 7  # numbers of its position
POINT = " point"  # ends the name of a named point's sensor


class Pose(NamedTuple):
    """Positions [E, 3] m and orientations [E, 4] xyzw."""

    pos: Tensor
    quat: Tensor


class Verdict(NamedTuple):
    """A task's verdict on a step: reward [E], whether its success test holds [E] bool, whether it failed [E] bool."""

    reward: Tensor
    success: Tensor
    failed: Tensor


class Signals:
    """Values by name, read from the engine when asked for.

    Poses, velocities and joints are current. Points are sensors: after a step they are one substep old.
    """

    def __init__(self, physics: Physics, addresses: Addresses, goals: Dict[str, Pose], action: Tensor):
        self.action = action  # [E, 2 x slots] last actions within [-1, 1], right hand, left hand
        self._physics = physics
        self._constants: Dict[Tuple[float, ...], Tensor] = {}
        self._goals = goals
        self._points = {
            name[: -len(POINT)]: span(addresses.sensor(name)) for name in addresses.sensors() if name.endswith(POINT)
        }
        self._joints = {name: span(addresses.qpos(name)) for name in addresses.joints()}
        self._speeds = {name: span(addresses.qvel(name)) for name in addresses.joints()}

    def columns(self, joint: str) -> slice:
        """Columns of a joint in qpos; those of a free body have its name."""
        return self._joints[joint]

    def pose(self, body: str) -> Pose:
        """Pose of a free body."""
        values = self._physics.qpos[:, self._joints[body]]
        return Pose(values[:, :3], values[:, 3:FREE_JOINT].roll(-1, dims=1))

    def velocity(self, body: str) -> Tuple[Tensor, Tensor]:
        """Linear [E, 3] m/s and angular velocity [E, 3] rad/s of a free body, both in the world frame."""
        values = self._physics.qvel[:, self._speeds[body]]
        return values[:, :3], rotate(self.pose(body).quat, values[:, 3:])  # MuJoCo's is in the body frame

    def goal(self, name: str) -> Pose:
        """Pose of a goal."""
        return self._goals[name]

    def point(self, name: str) -> Tensor:
        """Position of a named point of the scene, [E, 3] m."""
        return self._physics.sensors[:, self._points[name]]

    def constant(self, values: Tuple[float, ...]) -> Tensor:
        """The same numbers in every environment, [E, numbers]."""
        if values not in self._constants:
            self._constants[values] = self._physics.qpos.new_tensor(values).expand(len(self._physics.qpos), -1)
        return self._constants[values]

    def joint(self, name: str) -> Tensor:
        """Position of a hinge or a slide, [E] rad or m."""
        return self._physics.qpos[:, self._joints[name]][:, 0]


def span(columns: List[int]) -> slice:
    """Slice of columns that follow each other."""
    return slice(columns[0], columns[-1] + 1)


def stack(pose: Pose) -> Tensor:
    """Position and orientation side by side, [E, 7]."""
    return torch.cat(pose, dim=1)
