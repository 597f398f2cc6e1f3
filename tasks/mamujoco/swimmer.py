"""Swimmer and ManySegmentSwimmer: a chain of links swims in a plane, until the time limit.

As in mamujoco_v1 a Swimmer's local observation shows with each motor a velocity of the trunk as well, and of the trunk
its angle; a ManySegmentSwimmer's shows nobody the trunk.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, List

import torch

from harl_isaac.tasks.mamujoco.factorization import segments
from harl_isaac.tasks.mamujoco.running import RunningCfg, RunningTask

if TYPE_CHECKING:
    import mujoco


@dataclass
class SwimmerCfg(RunningCfg):
    """Agents: 2x1."""

    name: str = "mamujoco/Swimmer"
    agents: str = "2x1"  # or 1x2
    control_cost: float = 1e-4  # for each squared unit of control

    def make(self, num_envs: int, device: torch.device, sim: str) -> RunningTask:
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Swimmer(self, num_envs, device, sim)


class Swimmer(RunningTask):
    """Box(1) for each of two agents; state 8."""

    cfg: SwimmerCfg
    file = "swimmer.xml"
    substeps = 4
    hidden = 2
    trunk = (("qpos", (2,)), ("qvel", (2,)))

    def joint_columns(self, joint: str, name: str) -> List[int]:
        """Columns of one joint's values of a feature, with a velocity of the trunk before its own."""
        columns = super().joint_columns(joint, name)
        return columns if name == "qpos" else [self.column("qvel", self._actuated.index(joint))] + columns


@dataclass
class ManySegmentSwimmerCfg(SwimmerCfg):
    """Agents: NxM, N agents with M joints each."""

    name: str = "mamujoco/ManySegmentSwimmer"
    agents: str = "10x2"  # any NxM, or joints such as rot0+rot1,rot2

    def make(self, num_envs: int, device: torch.device, sim: str) -> RunningTask:
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ManySegmentSwimmer(self, num_envs, device, sim)


class ManySegmentSwimmer(RunningTask):
    """Box(2) for each of ten agents by default."""

    cfg: ManySegmentSwimmerCfg
    substeps = 4
    hidden = 2
    trunk = ()

    def scene(self) -> "mujoco.MjSpec":
        """The model with as many segments as the agents have."""
        from harl_isaac.tasks.mamujoco.segments import many_segment_swimmer

        return many_segment_swimmer(segments(self.cfg.agents, joints_each=1))
