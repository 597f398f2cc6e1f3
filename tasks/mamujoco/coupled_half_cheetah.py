"""CoupledHalfCheetah: two half cheetahs run side by side, an elastic tendon between their trunks.

mamujoco_v1's own fails from MuJoCo 3.6 on. Compared with it on MuJoCo 3.5.0, over episodes of random actions: state, reward
and local observations (obsk 0, 1, 2) are equal within 1e-10 for 20 control steps, then rounding grows. One defect is
repaired: it shows both agents the second cheetah's joints, here each sees its own.
"""

from dataclasses import dataclass
from typing import List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.running import RunningCfg, RunningTask


@dataclass
class CoupledHalfCheetahCfg(RunningCfg):
    """Agents: 1p1 (the first cheetah, the second)."""

    name: str = "mamujoco/CoupledHalfCheetah"
    agents: str = "1p1"  # NxM consecutive joints, or joints such as bthigh0+bshin0+bfoot0,...

    def make(self, num_envs: int, device: torch.device, sim: str) -> "CoupledHalfCheetah":
        return CoupledHalfCheetah(self, num_envs, device, sim)


class CoupledHalfCheetah(RunningTask):
    """Box(6) for each of two agents; state 40. Speed and effort are means of the two cheetahs'."""

    substeps = 5
    fields = ("xpos", "ten_length", "ten_velocity")
    extras = ("ten_J", "ten_length", "ten_velocity")
    near = ("qpos", "qvel", "ten_J", "ten_length", "ten_velocity")
    named = {
        "1p1": ",".join(
            "+".join(leg + part + str(i) for leg in "bf" for part in ("thigh", "shin", "foot")) for i in range(2)
        )
    }
    trunk = (("qpos", (2, 1, 11, 10)), ("qvel", (0, 2, 1, 9, 11, 10)))
    normal_velocity = True
    bodies_that_run = 2

    def scene(self):
        from harl_isaac.tasks.mamujoco.models import mamujoco_model

        return mamujoco_model("coupled_half_cheetah.xml")

    def load(self) -> None:
        super().load()
        self._torsos = [self.model.body(name).id for name in ("torso0", "torso1")]

    def features(self) -> Tuple[Tensor, ...]:
        return self.jacobian(), self.physics.ten_length, self.physics.ten_velocity

    def jacobian(self) -> Tensor:
        """[E, 4] how the tendon's length changes with x and z of the first trunk, x and z of the second."""
        first, second = (self.physics.xpos[:, torso, ::2] for torso in self._torsos)
        along = (second - first) / self.physics.ten_length
        return torch.cat((-along, along), 1)

    def joint_columns(self, joint: str, name: str) -> List[int]:
        if name in self.extras:
            return self.all_columns(name) if joint.startswith("bthigh") else []
        return super().joint_columns(joint, name)

    def state_columns(self) -> List[int]:
        """All but where the cheetahs are."""
        positions = [self.column("qpos", i) for i in range(self.model.nq) if i not in (0, 9)]
        return positions + [column for name in ("qvel",) + self.extras for column in self.all_columns(name)]

    def position(self) -> Tensor:
        return (self.physics.qpos[:, 0] + self.physics.qpos[:, 9]) / 2
