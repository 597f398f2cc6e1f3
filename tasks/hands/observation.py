"""Observations of the hand tasks: each hand's block as columns of the engine's tensors, and the blocks of the tail.

Layout and scales as in Bi-DexterousHands: right block, left block, the task's tail; of each hand its agents observe the
own block and the tail.
"""

from typing import Callable, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.tasks.hands.addresses import Addresses
from harl_isaac.tasks.hands.hand import SIDES, Hand
from harl_isaac.tasks.hands.quaternions import quat_conj, quat_mul
from harl_isaac.tasks.hands.signals import POINT, Signals, stack

VELOCITY_SCALE = 0.2  # of joint and angular velocities in observations
FORCE_SCALE = 10.0  # of forces and torques in observations
CLIP = 5.0  # observations are clipped to +-5
XYZW = (1, 2, 3, 0)  # MuJoCo stores w first; observations have it last


class Block(NamedTuple):
    """A named part of a hand's observation: scale x column + offset."""

    name: str
    columns: List[int]  # in the source, which see `HandTable`
    scale: Tensor  # [width]
    offset: Tensor  # [width]


class HandTable:
    """Both hands' blocks as columns, scales and offsets of one source.

    The source is qpos, qvel, sensors, actions and, of hands with a free base, both bases' angles side by side.
    `base_point` names the point of a hand that is observed as the position of its free base. `layout` has the names of
    the blocks in their order, and numbers of zeros between them; None: all blocks.
    """

    def __init__(
        self,
        addresses: Addresses,
        hand: Hand,
        action_width: int,
        device: torch.device,
        base_point: Optional[str] = None,
        layout: Optional[Sequence[Union[str, int]]] = None,
    ):
        self.addresses = addresses
        self.hand = hand
        self.action_width = action_width  # of one hand
        self.base_point = base_point
        self.blocks, left = (ordered(self._blocks(side), layout) for side in range(2))  # of the right hand, the left
        both = self.blocks + left  # of the same names and widths
        self.columns = torch.tensor([column for block in both for column in block.columns], device=device)  # [2 W]
        self.scale = torch.cat([block.scale for block in both]).to(device)  # [2 W]
        self.offset = torch.cat([block.offset for block in both]).to(device)  # [2 W]
        self.width = sum(len(block.columns) for block in self.blocks)  # W

    def read(self, *source: Tensor) -> Tensor:
        """Blocks of both hands, [E, 2 W], from the parts [E, ...] of the source."""
        return torch.addcmul(self.offset, torch.cat(source, dim=1).index_select(1, self.columns), self.scale)

    def _blocks(self, side: int) -> List[Block]:
        """Blocks of a hand in their order.

        Contact sensors report the force of a fingertip on others; the force on it is observed, hence the minus.
        """
        model = self.addresses.model
        sensors = model.nq + model.nv
        joints = [self.hand.full_name(SIDES[side], joint) for joint in self.hand.joints]
        tips = [self.hand.full_name(SIDES[side], tip) for tip in self.hand.tips]
        low, high = torch.tensor([self.addresses.limits(joint) for joint in joints]).T
        action = sensors + model.nsensordata + side * self.action_width
        torques = [column for joint in joints for column in self._sensor(f"{joint} torque")]
        wrenches = [column for tip in tips for column in self._sensor(f"{tip} contact")]
        return [
            Block(
                "joint angles",
                [column for joint in joints for column in self.addresses.qpos(joint)],
                2.0 / (high - low),
                -(high + low) / (high - low),
            ),
            scaled(
                "joint velocities",
                [model.nq + column for joint in joints for column in self.addresses.qvel(joint)],
                VELOCITY_SCALE,
            ),
            scaled("joint torques", torques, FORCE_SCALE),
            scaled("fingertips", [column for tip in tips for column in self._tip(tip)]),
            scaled("forces on fingertips", wrenches, -FORCE_SCALE),
            *self._base_blocks(side),
            scaled("last action", list(range(action, action + self.action_width))),
        ]

    def _base_blocks(self, side: int) -> List[Block]:
        """Position and angles of a free base."""
        if self.base_point is None:
            return []
        model = self.addresses.model
        angles = model.nq + model.nv + model.nsensordata + 2 * self.action_width + 3 * side
        position = self._sensor(f"{SIDES[side]} {self.base_point}{POINT}")
        return [scaled("base position", position), scaled("base angles", list(range(angles, angles + 3)))]

    def _sensor(self, name: str) -> List[int]:
        """Columns of a sensor in the source."""
        model = self.addresses.model
        return [model.nq + model.nv + column for column in self.addresses.sensor(name)]

    def _tip(self, tip: str) -> List[int]:
        """Columns of a fingertip in the source: position 3, quaternion xyzw 4, velocity 3, angular velocity 3."""
        quat = self._sensor(f"{tip} framequat")
        turned = [quat[part] for part in XYZW]
        return self._sensor(f"{tip} framepos") + turned + self._sensor(f"{tip} linvel") + self._sensor(f"{tip} angvel")


def scaled(name: str, columns: List[int], scale: float = 1.0) -> Block:
    """A block whose columns all have one scale."""
    return Block(name, columns, torch.full((len(columns),), scale), torch.zeros(len(columns)))


def ordered(blocks: List[Block], layout: Optional[Sequence[Union[str, int]]]) -> List[Block]:
    """Blocks in the order of a layout: names, and numbers of zeros; None: as they are."""
    if layout is None:
        return blocks
    named = {block.name: block for block in blocks}
    return [named[part] if isinstance(part, str) else scaled("zeros", [0] * part, 0.0) for part in layout]


class TailBlock(NamedTuple):
    """A named part of the tail, which both hands observe."""

    name: str
    width: int
    read: Callable[[Signals], Tensor]  # [E, width]


def pose(body: str) -> TailBlock:
    """Position 3 and orientation xyzw 4 of a body."""
    return TailBlock(f"{body} pose", 7, lambda s: stack(s.pose(body)))


def velocity(body: str) -> TailBlock:
    """Linear velocity 3 and 0.2 x angular velocity 3 of a body."""

    def read(s: Signals) -> Tensor:
        linear, angular = s.velocity(body)
        return torch.cat((linear, VELOCITY_SCALE * angular), dim=1)

    return TailBlock(f"{body} velocity", 6, read)


def orientation(body: str, turn: Tuple[float, ...] = (0.0, 0.0, 0.0, 1.0)) -> TailBlock:
    """Orientation xyzw 4 of a body's part that is turned against it by `turn` xyzw."""
    return TailBlock(f"{body} orientation", 4, lambda s: quat_mul(s.pose(body).quat, s.constant(turn)))


def goal(name: str) -> TailBlock:
    """Position 3 and orientation xyzw 4 of a goal."""
    return TailBlock(f"{name} pose", 7, lambda s: stack(s.goal(name)))


def rotation(body: str, goal: str) -> TailBlock:
    """Rotation from a goal to a body, xyzw 4."""
    return TailBlock(f"{goal} to {body}", 4, lambda s: quat_mul(s.pose(body).quat, quat_conj(s.goal(goal).quat)))


def point(name: str) -> TailBlock:
    """Position 3 of a named point."""
    return TailBlock(name, 3, lambda s: s.point(name))
