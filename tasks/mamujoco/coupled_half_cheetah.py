"""CoupledHalfCheetah: two half cheetahs run side by side, an elastic tendon between their trunks.

mamujoco_v1's own fails from MuJoCo 3.6 on. Compared with it on MuJoCo 3.5.0, over episodes of random actions: state,
reward and local observations (obsk 0, 1, 2) are equal within 1e-10 for 20 control steps, then rounding grows. One
defect is repaired: it shows both agents the second cheetah's joints, here each observes its own.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.running import RunningCfg, RunningTask

if TYPE_CHECKING:
    import mujoco

# Joints of each cheetah in the order of its actions.
CHEETAHS = (
    ("bthigh0", "bshin0", "bfoot0", "fthigh0", "fshin0", "ffoot0"),
    ("bthigh1", "bshin1", "bfoot1", "fthigh1", "fshin1", "ffoot1"),
)


@dataclass
class CoupledHalfCheetahCfg(RunningCfg):
    """Agents: 1p1 (the first cheetah, the second)."""

    name: str = "mamujoco/CoupledHalfCheetah"
    agents: str = "1p1"  # NxM consecutive joints, or joints such as bthigh0+bshin0+bfoot0,...

    def make(self, num_envs: int, device: torch.device, sim: str) -> "CoupledHalfCheetah":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return CoupledHalfCheetah(self, num_envs, device, sim)


class CoupledHalfCheetah(RunningTask):
    """Box(6) for each of two agents; state 40. Speed and effort are means of the two cheetahs'."""

    cfg: CoupledHalfCheetahCfg
    substeps = 5
    fields = ("xpos", "ten_length", "ten_velocity")
    extras = ("ten_J", "ten_length", "ten_velocity")
    near = ("qpos", "qvel", "ten_J", "ten_length", "ten_velocity")
    named = {"1p1": ",".join("+".join(joints) for joints in CHEETAHS)}
    trunk = (("qpos", (2, 1, 11, 10)), ("qvel", (0, 2, 1, 9, 11, 10)))
    normal_velocity = True
    bodies_that_run = 2

    def scene(self) -> "mujoco.MjSpec":
        """The model of mamujoco_v1."""
        from harl_isaac.tasks.mamujoco.models import mamujoco_model

        return mamujoco_model("coupled_half_cheetah.xml")

    def load(self) -> None:
        """Read the model, and find both trunks in it."""
        super().load()
        self._torsos: List[int] = [self.model.body(name).id for name in ("torso0", "torso1")]

    def features(self) -> Tuple[Tensor, ...]:
        """The tendon's Jacobian [E, 4], length [E, 1] m and velocity [E, 1] m/s."""
        derived = self.physics.derived
        return self.jacobian(), derived["ten_length"], derived["ten_velocity"]

    def jacobian(self) -> Tensor:
        """Derivative of the tendon's length in x and z of the first trunk, x and z of the second, [E, 4]."""
        derived = self.physics.derived
        first, second = (derived["xpos"][:, torso, ::2] for torso in self._torsos)
        along = (second - first) / derived["ten_length"]
        return torch.cat((-along, along), 1)

    def joint_columns(self, joint: str, name: str) -> List[int]:
        """Columns of one joint's values of a feature; the tendon's stand beside the hind thighs."""
        if name in self.extras:
            return self.all_columns(name) if joint.startswith("bthigh") else []
        return super().joint_columns(joint, name)

    def state_columns(self) -> List[int]:
        """Columns of the critic's state: everything but where the cheetahs are."""
        positions = [self.column("qpos", i) for i in range(self.model.nq) if i not in (0, 9)]
        return positions + [column for name in ("qvel",) + self.extras for column in self.all_columns(name)]

    def position(self) -> Tensor:
        """Mean position of the cheetahs in forward direction, [E] m."""
        return (self.physics.qpos[:, 0] + self.physics.qpos[:, 9]) / 2
