"""Places of the hands in Bi-DexterousHands' tasks, and what moves a free base, as data (its code, commit dc41afd)."""

import math
from typing import Dict, NamedTuple, Tuple

from harl_isaac.tasks.hands.hand import Vector

PI = math.pi


class Mount(NamedTuple):
    """A hand's pose: position [m] and angles (a, b, c) [rad] of the rotation Rz(c) Ry(b) Rx(a)."""

    pos: Vector
    euler: Vector = (0.0, 0.0, 0.0)


class FreeBase(NamedTuple):
    """A base that moves: the force [N] and the torque [Nm] of an action of 1, in world axes, on the forearm."""

    force: float
    torque: float


def free_base(transition_scale: float, orientation_scale: float) -> FreeBase:
    """A free base in the originals' terms: force 1e5, torque 1e3 times scale and control step of 1/60 s."""
    return FreeBase(1e5 * transition_scale / 60.0, 1e3 * orientation_scale / 60.0)


DOOR: Vector = (0.0, 0.0, 0.7)  # [m] a double door's frame: z is up, y along the closed leaves, to the right
DOOR_OPEN = 1.57  # [rad] of a leaf, its limit
Mounts = Tuple[Mount, Mount]  # of the right hand, the left hand
MOUNTS: Dict[str, Mounts] = {
    "over": (Mount((0.0, 0.0, 0.5)), Mount((0.0, -1.0, 0.5), (0.0, 0.0, 3.1415))),
    "underarm": (Mount((0.0, 0.0, 0.5)), Mount((0.0, -1.15, 0.5), (0.0, 0.0, 3.1415))),
    "abreast": (
        Mount((0.0, -0.55, 0.5), (0.0, 0.3925, -1.57)),
        Mount((0.0, -1.15, 0.5), (0.0, -0.3925, -1.57)),
    ),
    "over2underarm": (Mount((0.0, 0.0, 0.5), (1.67, 3.14, 0.0)), Mount((0.0, -0.8, 0.5), (0.0, 0.0, 3.1415))),
    "lift": (Mount((0.0, 0.05, 0.45)), Mount((0.0, -1.25, 0.45), (0.0, 0.0, PI))),
    "door": (Mount((0.55, 0.2, 0.6), (PI, 1.57, 1.57)), Mount((0.55, -0.2, 0.6), (PI, -1.57, 1.57))),
    "close inward": (Mount((0.9, 0.5, 0.6), (PI, 1.57, 1.57)), Mount((0.9, -0.5, 0.6), (PI, -1.57, 1.57))),
    "swing cup": (Mount((0.35, 0.2, 0.8), (PI, 1.57, 1.57)), Mount((0.35, -0.2, 0.8), (PI, -1.57, 1.57))),
    "bottle cap": (Mount((0.0, -1.05, 0.5), (0.5, PI, PI)), Mount((0.0, -0.25, 0.45), (0.0, 0.87, 0.0))),
    "table": (Mount((0.55, 0.2, 0.8), (PI, 0.0, 1.57)), Mount((0.55, -0.2, 0.8), (PI, 0.0, 1.57))),
    "allegro over": (
        Mount((0.0, 0.0, 0.5), (1.571, -1.571, 0.0)),
        Mount((0.0, -0.4, 0.5), (-1.571, -1.571, 0.0)),
    ),
    # The LEAP hand's fingers where the Allegro's are: their roots, middles and upper sides.
    "leap over": (
        Mount((-0.037, -0.024, 0.48), (PI, 0.0, -PI / 2.0)),
        Mount((0.037, -0.376, 0.48), (PI, 0.0, PI / 2.0)),
    ),
    "block stack": (Mount((0.0, 0.6, 0.7), (PI, 0.0, 3.14)), Mount((0.0, -0.6, 0.7), (PI, 0.0, 0.0))),
}
