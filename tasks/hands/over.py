"""ShadowHandOver: the right hand throws an object over to the left hand (Chen et al., 2022, "Hand Over").

Observation 211 and action 20 for each hand, state 398, reward, noise, end and success as in Bi-DexterousHands.
Repaired here: the time limit is a truncation, not a failure; start angles stay within the joints' limits and are drawn
for each hand; the bonus that is paid at distance zero exactly (never) is left out. Different by engine: a fingertip's
force and torque are those of its contacts, in the world frame, the torque about the contacts' force-weighted center; a
joint's force is its actuator's torque.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from harl_isaac.tasks.hands.base import OBJECT_POS, VELOCITY_SCALE, HandsCfg, TwoHands
from harl_isaac.tasks.hands.quaternions import quat_conj, quat_mul, rotation_angle, tumbled

DISTANCE_SCALE = 50.0  # [1/m]
REWARD_RATE = 0.2  # of the exponential reward
SUCCESS_DISTANCE = 0.03  # [m]
DROP_HEIGHT = 0.2  # [m]


@dataclass
class ShadowHandOverCfg(HandsCfg):
    """Two fixed hands, and 0.25 m to throw."""

    name: str = "ShadowHandOver"

    def make(self, num_envs: int, device: torch.device, sim: str) -> "ShadowHandOver":
        """Build the task on the engine `sim`. Raises ValueError for impossible settings."""
        return ShadowHandOver(self, num_envs, device, sim)


class ShadowHandOver(TwoHands):
    """Two agents (or finger groups) with Box(20) actions; see the module's first lines."""

    cfg: ShadowHandOverCfg
    mounts = (((0.0, 0.0, 0.5), 0.0), ((0.0, -1.0, 0.5), 3.1415))
    start = (0.0, -0.39, 0.54)
    goal = (0.0, -0.64, 0.54)
    tail_size = 24

    def __init__(self, cfg: ShadowHandOverCfg, num_envs: int, device: torch.device, sim: str = "auto"):
        super().__init__(cfg, num_envs, device, sim)
        self._goal = torch.tensor(self.goal, device=device)  # [3] m
        self._no_velocity = torch.zeros_like(self.physics.qvel)  # [E, nv]

    def tail(self) -> Tensor:
        """Object pose 7, velocity 3, 0.2 x angular velocity 3, goal pose 7, rotation from goal to object 4: [E, 24]."""
        quat = self.object_quat()
        return torch.cat(
            (
                self.object_pos(),
                quat,
                self.physics.qvel[:, OBJECT_POS],
                VELOCITY_SCALE * self.object_angvel(),
                self.goal_pos,
                self.goal_quat,
                quat_mul(quat, quat_conj(self.goal_quat)),
            ),
            dim=1,
        )

    def reward(self) -> Tensor:
        """Closeness of the object to the goal, in position and orientation, [E]."""
        return over_reward(self.object_pos(), self.object_quat(), self.goal_pos, self.goal_quat)

    def terminated(self) -> Tensor:
        """Environments in which the object was dropped, [E] bool."""
        return self.object_pos()[:, 2] <= DROP_HEIGHT

    def succeeded(self) -> Tensor:
        """Environments in which the object is closer than SUCCESS_DISTANCE to the goal, [E] bool."""
        return (self.object_pos() - self.goal_pos).norm(dim=1) < SUCCESS_DISTANCE

    def reset_rows(self, mask: Tensor) -> None:
        """Place hands, object and goal where mask [E] is true."""
        rows = mask[:, None]
        count = self.spec.num_envs
        u = self.uniform(-1.0, 1.0, 7)  # position 3, orientation 2, goal orientation 2
        quats = tumbled(u[:, 3:].reshape(-1, 2)).view(count, 2, 4)
        pos = self._rest_pos[OBJECT_POS] + self.cfg.position_noise * u[:, :3]
        qpos = torch.cat((self.random_hand_joints(), pos, quats[:, 0].roll(1, dims=1)), dim=1)
        torch.where(rows, self._goal, self.goal_pos, out=self.goal_pos)
        torch.where(rows, quats[:, 1], self.goal_quat, out=self.goal_quat)
        self.start_hands(mask, qpos)
        self.physics.set_state(mask, qpos, self._no_velocity)
        self.physics.mocap_pos[:, 0] = self.goal_pos
        self.physics.mocap_quat[:, 0] = self.goal_quat.roll(1, dims=1)


def over_reward(pos: Tensor, quat: Tensor, goal_pos: Tensor, goal_quat: Tensor) -> Tensor:
    """Reward exp(-0.2 (50 d + theta)) for distance d [m] and angle theta [rad] to the goal, [E].

    Positions [E, 3] m, orientations [E, 4] xyzw.
    """
    distance = (pos - goal_pos).norm(dim=1)
    return torch.exp(-REWARD_RATE * (DISTANCE_SCALE * distance + rotation_angle(quat, goal_quat)))
