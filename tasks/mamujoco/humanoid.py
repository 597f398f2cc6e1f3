"""Humanoid runs without falling; HumanoidStandup rises from lying on its back.

Observations are positions, velocities, inertias (cinert), velocities of bodies (cvel), actuator forces and forces on
bodies (cfrc_ext). The last are those at the start of the control step's last substep, where gymnasium has those of the
Runge-Kutta integrator's last stage; as there, they are zero where an episode begins. MuJoCo Warp has no PGS solver,
which these models specify: it uses Newton's.
"""

from dataclasses import dataclass
from typing import FrozenSet, List, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.base import BODY_WIDTHS, FREE_TRUNK, MamujocoCfg, MamujocoTask
from harl_isaac.tasks.mamujoco.running import UprightCfg, UprightTask, within

# Bodies whose inertia, velocity and forces an agent observes, by the beginning of its joint's name ("side" is either).
BODIES = {
    "abdomen_x": ("pelvis", "right_thigh", "left_thigh"),
    "abdomen": ("torso", "lwaist", "pelvis"),
    "side_hip": ("side_thigh", "side_shin"),
    "side_knee": ("side_shin", "side_foot"),
    "side_shoulder": ("torso", "side_upper_arm", "side_lower_arm"),
    "side_elbow": ("side_lower_arm",),
}
NEIGHBORS = (
    ("abdomen", "side_hip"),
    ("side_hip", "side_knee"),
    ("abdomen", "side_shoulder"),
    ("side_shoulder", "side_elbow"),
)
UPPER = (
    "abdomen_x",
    "abdomen_y",
    "abdomen_z",
    "right_shoulder1",
    "right_shoulder2",
    "right_elbow",
    "left_shoulder1",
    "left_shoulder2",
    "left_elbow",
)
LOWER = (
    "right_hip_x",
    "right_hip_y",
    "right_hip_z",
    "right_knee",
    "left_hip_x",
    "left_hip_y",
    "left_hip_z",
    "left_knee",
)


class HumanoidBody(MamujocoTask):
    """Base of both humanoids: the body and its observations."""

    cfg: "Union[HumanoidCfg, HumanoidStandupCfg]"
    substeps = 5
    fields: Tuple[str, ...] = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
    extras = ("cinert", "cvel", "qfrc_actuator", "cfrc_ext")
    near = ("qpos", "qvel") + extras
    trunk = FREE_TRUNK
    hidden = 2
    named = {"9|8": "+".join(UPPER) + "," + "+".join(LOWER)}
    labels = {"abdomen_y": "abdomen_z", "abdomen_z": "abdomen_y"}  # mamujoco_v1 takes one for the other

    def features(self) -> Tuple[Tensor, ...]:
        """Inertias, velocities, actuator forces and forces on bodies, each [E, n]."""
        derived = self.physics.derived
        return tuple(derived[name].flatten(1) for name in self.extras)

    def edges(self) -> List[FrozenSet[str]]:
        """Neighbors on each side of the body."""
        return [self._joints_of(pair, side) for pair in NEIGHBORS for side in ("right", "left")]

    def _joints_of(self, parts: Tuple[str, ...], side: str) -> FrozenSet[str]:
        """Joints whose names begin with one of the parts on a side."""
        beginnings = tuple(part.replace("side", side) for part in parts)
        return frozenset(joint for joint in self._actuated if joint.startswith(beginnings))

    def bodies(self, joint: str) -> Tuple[int, ...]:
        """Numbers of the bodies whose values an agent with this joint observes."""
        side = joint.partition("_")[0]
        names = next(names for part, names in BODIES.items() if joint.startswith(part.replace("side", side)))
        return tuple(self.model.body(name.replace("side", side)).id for name in names)

    def state_columns(self) -> List[int]:
        """Columns of the critic's state, without the world's own body and actuator forces on the free joint."""
        first = {"qfrc_actuator": 6, **BODY_WIDTHS}
        return super().state_columns() + [i for name in self.extras for i in self.all_columns(name, first[name])]

    def impact(self) -> Tensor:
        """Cost of the squared forces on all bodies, [E]."""
        squares = self.physics.derived["cfrc_ext"].square().sum((1, 2))
        return (squares * self.cfg.impact_cost).clamp(max=self.cfg.largest_impact_cost)


@dataclass
class HumanoidCfg(UprightCfg):
    """Agents: 17x1, 9|8 (upper body, lower body)."""

    name: str = "mamujoco/Humanoid"
    agents: str = "17x1"  # NxM consecutive joints, 9|8, or joints such as abdomen_x+abdomen_y,abdomen_z+...
    forward_weight: float = 1.25  # reward for each m/s forward
    reset_noise: float = 1e-2  # [m, rad, m/s, rad/s] around the rest pose
    impact_cost: float = 5e-7  # for each squared N, Nm on a body
    largest_impact_cost: float = 10.0  # in one step
    healthy_reward: float = 5.0  # for each step that ends healthy
    lowest: float = 1.0  # [m] healthy above
    highest: float = 2.0  # [m] healthy below

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Humanoid":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Humanoid(self, num_envs, device, sim)


class Humanoid(HumanoidBody, UprightTask):
    """Box(1) within +-0.4 for each of 17 agents by default; state 348."""

    cfg: HumanoidCfg
    file = "humanoid.xml"
    fields = HumanoidBody.fields + ("xipos",)

    def __init__(
        self,
        cfg: HumanoidCfg,
        num_envs: int,
        device: torch.device,
        sim: str = "auto",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(cfg, num_envs, device, sim, dtype)
        mass = torch.as_tensor(self.model.body_mass, dtype=dtype, device=device)
        self._mass_fraction = mass / mass.sum()  # [nbody]

    def position(self) -> Tensor:
        """Position of the center of mass in forward direction, [E] m."""
        return torch.mv(self.physics.derived["xipos"][:, :, 0], self._mass_fraction)

    def reward(self) -> Tensor:
        """Reward of running and of being healthy, less the cost of impacts, [E]."""
        return super().reward() - self.impact()

    def healthy(self) -> Tensor:
        """Environments whose torso is neither too low nor too high, [E] bool."""
        return within(self.physics.qpos[:, 2], self.cfg.lowest, self.cfg.highest)


@dataclass
class HumanoidStandupCfg(MamujocoCfg):
    """Agents: 17x1, 9|8 (upper body, lower body)."""

    name: str = "mamujoco/HumanoidStandup"
    agents: str = "17x1"  # NxM consecutive joints, 9|8, or joints such as abdomen_x+abdomen_y,abdomen_z+...
    control_cost: float = 0.1  # for each squared unit of control
    impact_cost: float = 5e-7  # for each squared N, Nm on a body
    largest_impact_cost: float = 10.0  # in one step
    reset_noise: float = 1e-2  # [m, rad, m/s, rad/s] around the rest pose

    def make(self, num_envs: int, device: torch.device, sim: str) -> "HumanoidStandup":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return HumanoidStandup(self, num_envs, device, sim)


class HumanoidStandup(HumanoidBody):
    """A humanoid that lies on its back and is rewarded for height, until the time limit."""

    cfg: HumanoidStandupCfg
    file = "humanoidstandup.xml"

    def reward(self) -> Tensor:
        """Height over the model's timestep, less the effort and the cost of impacts, [E]."""
        rise = self.physics.qpos[:, 2] / self.model.opt.timestep
        effort = torch.linalg.vecdot(self.physics.ctrl, self.physics.ctrl) * self.cfg.control_cost
        return rise - effort - self.impact() + 1.0

    def reset_rows(self, mask: Tensor) -> None:
        """Start lying with noise where mask [E] is true."""
        self.at_rest_with_noise(mask, self.cfg.reset_noise, normal_velocity=False)
