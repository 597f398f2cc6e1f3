"""Cup, bottle and kettle of Bi-DexterousHands, of primitive shapes in the extents of its meshes; m and kg.

Round bodies are two boxes, one turned by 45 degrees: cylinders meet others differently on the two engines. Two shapes
rub with the larger one of their frictions, and a hand's is 1.
"""

import math
from typing import Any, Sequence

import mujoco

from harl_isaac.tasks.hands.hand import Vector
from harl_isaac.tasks.hands.objects import ORANGE
from harl_isaac.tasks.hands.scene import SceneBuilder
from harl_isaac.tasks.hands.table_objects import BLUE, BOX, CAPSULE, STEEL

ACROSS = 1.57  # [rad] as there, of what lies along the world's y

CUP_HALF = 0.0375  # of an edge
CUP_HEIGHTS = (-0.0843, 0.0731)  # of foot and lid in the cup's frame; the lid is a part of it here
CUP_MASS = 0.944  # without handles
CUP_LIFT = 0.0842  # of the frame above the table: both engines find the contact at once
CUP_HANDLE = ((0.035, 0.045), (0.079, 0.045), (0.079, -0.05), (0.035, -0.05))  # outwards, up
CUP_HANDLE_RADIUS = 0.008
CUP_HANDLE_MASS = 0.043


def add_cup(scene: SceneBuilder, top: float) -> None:
    """Add the cup "object" on a table of height `top`, with the points "right handle" and "left handle"."""
    cup = scene.add_free_body("object", (0.0, 0.0, top + CUP_LIFT), euler=(0.0, 0.0, ACROSS))
    _add_round(scene, cup, "cup", CUP_HALF, CUP_HEIGHTS, mass=CUP_MASS, rgba=STEEL)
    for side, outwards, rgba in (("right", 1.0, ORANGE), ("left", -1.0, BLUE)):
        line = [(outwards * along, 0.0, up) for along, up in CUP_HANDLE]
        _add_bent_bar(scene, cup, f"{side} handle", line, CUP_HANDLE_RADIUS, CUP_HANDLE_MASS, rgba=rgba)
    scene.add_point("right handle", "object", (0.062, 0.0, 0.0))
    scene.add_point("left handle", "object", (-0.06, 0.0, 0.0))


def _add_round(
    scene: SceneBuilder, body: Any, name: str, half: float, heights: Sequence[float], mass: float, **look: Any
) -> None:
    """Add two crossed boxes between two heights, of which the second does not reach down to the ground."""
    low, high = heights
    for number, (turn, bottom) in enumerate(((0.0, low), (math.pi / 4, low + 0.002))):
        size = [half, half, (high - bottom) / 2]
        place = {"pos": [0.0, 0.0, (high + bottom) / 2], "euler": [0.0, 0.0, turn]}
        scene.add_geom(body, f"{name} {number}", "object", BOX, size, mass=mass / 2, **place, **look)


def _add_bent_bar(
    scene: SceneBuilder, body: Any, name: str, corners: Sequence[Vector], radius: float, mass: float, **look: Any
) -> None:
    """Add capsules from corner to corner."""
    for number, (start, end) in enumerate(zip(corners, corners[1:])):
        values = {"fromto": [*start, *end], "mass": mass / (len(corners) - 1), **look}
        scene.add_geom(body, f"{name} {number}", "object", CAPSULE, [radius], **values)
