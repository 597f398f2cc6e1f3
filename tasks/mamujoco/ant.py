"""Ant and ManySegmentAnt: four legs, or a chain of pairs of legs, run without falling or flipping up high.

Forces on bodies (cfrc_ext) are observed clipped to +-1 and cost a little. They are those at the start of the control
step's last substep, where gymnasium has those of the Runge-Kutta integrator's last stage; as there, they are zero where
an episode begins. MuJoCo Warp turns a contact's friction pyramid otherwise where a capsule stands within 30 degrees of
upright.

mamujoco_v1's ManySegmentAnt shows an agent other positions than its joints', but for the last segment's, and moves one
hip where the other is meant. Here the names of the joints are right.
"""

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Dict, FrozenSet, List, Sequence, Set, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.base import FREE_TRUNK
from harl_isaac.tasks.mamujoco.factorization import Group, agents_joints, joints_by_distance, segments
from harl_isaac.tasks.mamujoco.running import UprightCfg, UprightTask

if TYPE_CHECKING:
    import mujoco

CLIP = 1.0  # [N, Nm]
TORSO = 1  # number of the body


@dataclass
class AntCfg(UprightCfg):
    """Agents: 4x2 (legs), 2x4 (front and back), 2x4d (diagonal legs), 8x1."""

    name: str = "mamujoco/Ant"
    agents: str = "4x2"  # NxM consecutive joints, 2x4d, or joints such as hip_1+ankle_1+hip_2+ankle_2,...
    control_cost: float = 0.5  # for each squared unit of control
    contact_cost: float = 5e-4  # for each squared N, Nm on a body after clipping
    lowest: float = 0.2  # [m] healthy from here
    highest: float = 1.0  # [m] to here

    def make(self, num_envs: int, device: torch.device, sim: str) -> "Ant":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return Ant(self, num_envs, device, sim)


class Ant(UprightTask):
    """Box(2) for each of four agents by default; state 105."""

    cfg: AntCfg
    file = "ant.xml"
    substeps = 5
    fields = ("xpos", "cfrc_ext")
    order = "joints"
    named: Dict[str, str] = {"2x4d": "hip_1+ankle_1+hip_4+ankle_4,hip_2+ankle_2+hip_3+ankle_3"}
    extras = ("cfrc_ext",)
    near = ("qpos", "qvel", "cfrc_ext")
    trunk = FREE_TRUNK
    hidden = 2
    normal_velocity = True

    def features(self) -> Tuple[Tensor, ...]:
        """Forces [E, 6 nbody]."""
        return (self.forces(),)

    def forces(self) -> Tensor:
        """Clipped forces and torques on every body, [E, 6 nbody] N, Nm."""
        return self.physics.derived["cfrc_ext"].flatten(1).clamp(-CLIP, CLIP)

    def position(self) -> Tensor:
        """Position of the torso in forward direction, [E] m."""
        return self.physics.derived["xpos"][:, TORSO, 0]

    def bodies(self, joint: str) -> Tuple[int, ...]:
        """Bodies of a hip: the torso and its leg's first part; of an ankle: its leg."""
        parents = self.model.body_parentid
        body = int(self.model.joint(joint).bodyid[0])
        above = int(parents[body])
        chain = (int(parents[above]), above)
        return chain + (body,) if joint.startswith("ankle") else chain

    def state_columns(self) -> List[int]:
        """Columns of the critic's state: positions, velocities, forces on all bodies but the world's."""
        return super().state_columns() + self.all_columns("cfrc_ext", 6)

    def reward(self) -> Tensor:
        """Reward of running and of being healthy, less the cost of contacts, [E]."""
        return super().reward() - self.cfg.contact_cost * self.forces().square().sum(1)

    def healthy(self) -> Tensor:
        """Environments whose torso is neither too low nor too high, [E] bool."""
        height = self.physics.qpos[:, 2]
        return (height >= self.cfg.lowest) & (height <= self.cfg.highest)


@dataclass
class ManySegmentAntCfg(AntCfg):
    """Agents: NxM, N agents with M segments of two legs each; or the names of all of a number of segments' joints."""

    name: str = "mamujoco/ManySegmentAnt"
    agents: str = "2x3"  # any NxM, or joints such as hip1_0+ankle1_0+hip2_0+ankle2_0,hip1_1+ankle1_1+hip2_1+ankle2_1

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ManySegmentAnt":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ManySegmentAnt(self, num_envs, device, sim)


class ManySegmentAnt(Ant):
    """Box(12) for each of two agents by default."""

    cfg: ManySegmentAntCfg
    order = "actuators"
    named = {}

    def scene(self) -> "mujoco.MjSpec":
        """The model with as many segments as the agents have."""
        from harl_isaac.tasks.mamujoco.segments import many_segment_ant

        return many_segment_ant(self._segments())

    def groups(self) -> List[Group]:
        """Each agent's joints in the order of its actions: those of NxM are four for each segment."""
        size = re.match(r"(\d+)x(\d+)$", self.cfg.agents)
        agents = f"{size[1]}x{4 * int(size[2])}" if size else self.cfg.agents
        return agents_joints(agents, self._actuated, self.named)

    def edges(self) -> List[FrozenSet[str]]:
        """Neighbors within a segment as in Ant.

        Across segments, hips observe the hips before them, but not the other way round: those before are represented
        by doubles (~) without neighbors of their own.
        """
        edges: List[Set[str]] = []
        for i in range(self._segments()):
            hips = {f"hip1_{i}", f"hip2_{i}"}
            edges += [{f"hip1_{i}", f"ankle1_{i}"}, {f"hip2_{i}", f"ankle2_{i}"}, hips]
            if i:
                edges.append(hips | {f"~hip1_{i - 1}", f"~hip2_{i - 1}"})
        return [frozenset(edge) for edge in edges]

    def layers(self, group: Group) -> List[List[str]]:
        """Joints that an agent observes at distance 0, 1, ..., obsk, with doubles under their joints' names."""
        doubles = {joint: joint[1:] for edge in self.edges() for joint in edge if joint[0] == "~"}
        layers = joints_by_distance(group, self.edges(), self.cfg.obsk, doubles)
        return [_without_doubles(layer, doubles) for layer in layers]

    def _segments(self) -> int:
        """Number of segments."""
        return segments(self.cfg.agents, joints_each=4)


def _without_doubles(joints: Sequence[str], doubles: Dict[str, str]) -> List[str]:
    """Joints, with the names of the joints that doubles represent."""
    return [doubles.get(joint, joint) for joint in joints]
