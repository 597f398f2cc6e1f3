"""Ant: a four-legged body runs without falling or flipping up high.

Forces on bodies (cfrc_ext) are seen clipped to +-1 and cost a little. They are those at the start of the control step's last
substep, where gymnasium has those of the Runge-Kutta integrator's last stage; as there, they are zero where an episode begins.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.running import RunningCfg, RunningTask

CLIP = 1.0  # [N, Nm]
TORSO = 1  # body


@dataclass
class AntCfg(RunningCfg):
    """Agents: 4x2 (legs), 2x4 (front and back), 2x4d (diagonal legs), 8x1."""

    name: str = "mamujoco/Ant"
    agents: str = "4x2"  # NxM consecutive joints, 2x4d, or joints such as hip_1+ankle_1+hip_2+ankle_2,...
    control_cost: float = 0.5  # for each squared unit of control
    contact_cost: float = 5e-4  # for each squared N, Nm on a body after clipping
    healthy_reward: float = 1.0  # for each step that ends healthy
    lowest: float = 0.2  # [m] healthy from here
    highest: float = 1.0  # [m] to here

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Ant":
        return Ant(self, num_envs, device, sim)


class Ant(RunningTask):
    """Box(2) for each of four agents by default; state 105."""

    file = "ant.xml"
    substeps = 5
    fields = ("xpos", "cfrc_ext")
    order = "joints"
    named = {"2x4d": "hip_1+ankle_1+hip_4+ankle_4,hip_2+ankle_2+hip_3+ankle_3"}
    near = ("qpos", "qvel", "cfrc_ext")
    hidden = 2
    normal_velocity = True

    def scene(self):
        from harl_isaac.tasks.mamujoco.models import measure_external_forces

        spec = super().scene()
        measure_external_forces(spec)
        return spec

    def features(self) -> Dict[str, Tensor]:
        return {"cfrc_ext": self.forces()}

    def forces(self) -> Tensor:
        """[E, 6 nbody] N and Nm on every body, clipped."""
        return self.physics.cfrc_ext.flatten(1).clamp(-CLIP, CLIP)

    def position(self) -> Tensor:
        return self.physics.xpos[:, TORSO, 0]

    def bodies(self, joint: str) -> Tuple[int, ...]:
        """A hip: the torso and its leg's first part; an ankle: its leg."""
        parents, body = self.model.body_parentid, int(self.model.joint(joint).bodyid[0])
        above = int(parents[body])
        chain = (int(parents[above]), above)
        return chain + (body,) if joint.startswith("ankle") else chain

    def trunk_columns(self) -> List[int]:
        return [self.column("qpos", i) for i in range(2, 7)] + [self.column("qvel", i) for i in range(6)]

    def state_columns(self) -> List[int]:
        return super().state_columns() + self.all_columns("cfrc_ext", 6)

    def reward(self) -> Tensor:
        cfg = self.cfg
        return super().reward() + self.healthy() * cfg.healthy_reward - cfg.contact_cost * self.forces().square().sum(1)

    def terminated(self) -> Tensor:
        return ~self.healthy()

    def started(self, mask: Tensor) -> None:
        super().started(mask)
        self.physics.cfrc_ext.masked_fill_(mask[:, None, None], 0.0)

    def healthy(self) -> Tensor:
        """[E] bool"""
        height = self.physics.qpos[:, 2]
        return (height >= self.cfg.lowest) & (height <= self.cfg.highest)
