"""Hands that fly: the force and the torque that move them, and the angles that they observe."""

import math
from typing import List

import torch
from torch import Tensor

from harl_isaac.sim.physics import Physics
from harl_isaac.tasks.hands.addresses import Addresses
from harl_isaac.tasks.hands.hand import SIDES, Hand, base_name
from harl_isaac.tasks.hands.layout import FreeBase
from harl_isaac.tasks.hands.quaternions import euler_angles, quat_conj, quat_mul

BASE_CHANNELS = 6  # of a hand's action: force 3, torque 3


class Flight:
    """The bases of both hands.

    The originals observe a base's angles within [0, 2 pi), which jump where it stands straight and are undefined where
    it looks up or down, as some of the mounts do. With `relative` they are those from the mount, 0 at the start.
    """

    def __init__(self, physics: Physics, addresses: Addresses, hand: Hand, base: FreeBase, relative: bool):
        device = physics.qpos.device
        bodies = [addresses.body(hand.full_name(side, hand.forearm)) for side in SIDES]
        quats = [column for side in SIDES for column in wxyz_to_xyzw(addresses.qpos(base_name(side)))]
        self._physics = physics
        self._relative = relative
        self._bodies = torch.tensor(bodies, device=device)  # [2] rows of xfrc_applied
        self._quats = torch.tensor(quats, device=device)  # [8] columns of qpos
        self._scale = torch.tensor([base.force] * 3 + [base.torque] * 3, device=device)  # [6] N, Nm
        rest = torch.as_tensor(addresses.model.qpos0, dtype=torch.float32, device=device)
        self._to_mount = quat_conj(rest[self._quats].view(2, 4))  # [2, 4] xyzw

    def push(self, action: Tensor) -> None:
        """Apply force and torque, in world axes at the forearms' centers of mass; action [E, 2, 6] within [-1, 1]."""
        self._physics.xfrc_applied.index_copy_(1, self._bodies, action * self._scale)

    def release(self, mask: Tensor) -> None:
        """Take force and torque away where mask [E] is true."""
        self._physics.xfrc_applied.masked_fill_(mask[:, None, None], 0.0)

    def angles(self) -> Tensor:
        """Angles of both bases about x, y, z, [E, 6] rad."""
        quats = self._physics.qpos.index_select(1, self._quats).view(-1, 2, 4)
        if self._relative:
            return euler_angles(quat_mul(self._to_mount.expand_as(quats), quats)).flatten(1)
        return euler_angles(quats).flatten(1).remainder(2.0 * math.pi)


def wxyz_to_xyzw(columns: List[int]) -> List[int]:
    """Columns of a free joint's quaternion, w last."""
    return columns[4:7] + columns[3:4]
