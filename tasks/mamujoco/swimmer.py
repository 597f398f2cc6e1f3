"""Swimmer and ManySegmentSwimmer: a chain of links swims in a plane; never over before its time.

As in mamujoco_v1 a Swimmer's local observation shows with each motor a velocity of the trunk as well, and of the trunk its
angle; a ManySegmentSwimmer's shows the trunk to nobody.
"""

from dataclasses import dataclass
from typing import List

import torch

from harl_isaac.tasks.mamujoco.factorization import segments
from harl_isaac.tasks.mamujoco.running import RunningCfg, RunningTask


@dataclass
class SwimmerCfg(RunningCfg):
    """Agents: 2x1."""

    name: str = "mamujoco/Swimmer"
    agents: str = "2x1"  # or 1x2
    control_cost: float = 1e-4  # for each squared unit of control

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Swimmer":
        return Swimmer(self, num_envs, device, sim)


class Swimmer(RunningTask):
    """Box(1) for each of two agents; state 8."""

    file = "swimmer.xml"
    substeps = 4
    hidden = 2
    trunk = (("qpos", (2,)), ("qvel", (2,)))

    def joint_columns(self, joint: str, name: str) -> List[int]:
        columns = super().joint_columns(joint, name)
        return columns if name == "qpos" else [self.column("qvel", self._actuated.index(joint))] + columns


@dataclass
class ManySegmentSwimmerCfg(SwimmerCfg):
    """Agents: NxM, N agents with M joints each."""

    name: str = "mamujoco/ManySegmentSwimmer"
    agents: str = "10x2"  # any NxM, or joints such as rot0+rot1,rot2

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ManySegmentSwimmer":
        return ManySegmentSwimmer(self, num_envs, device, sim)


class ManySegmentSwimmer(RunningTask):
    """Box(2) for each of ten agents by default."""

    substeps = 4
    hidden = 2
    trunk = ()

    def scene(self):
        from harl_isaac.tasks.mamujoco.segments import many_segment_swimmer

        return many_segment_swimmer(segments(self.cfg.agents, joints_each=1))
