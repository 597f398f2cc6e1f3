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

BOTTLE_TILT = -0.7  # [rad] about y, towards the left hand's thumb
BOTTLE_BODY = (0.031, 0.0047, 0.0877)  # radius (there 0.0385, 7 mm within palm and thumb), ends of its axis
BOTTLE_NECK = (0.0115, 0.1, 0.125)
BOTTLE_MASS = (0.37, 0.01)  # of body and neck
STICKY = (2.0, 0.005, 0.0001)  # friction; of the original's, 100, MuJoCo's pyramids hold nothing
CAP_HALF = (0.0105, 0.0105, 0.0052)  # half sizes
CAP_PLACE = 0.1445  # of its center along the bottle's axis
CAP_ORIGIN = (-0.0075, -0.007, 0.0)  # of its link in the original, whose distance from the bottle's frame is rewarded
CAP_TRAVEL = 0.064
CAP_MASS = 0.0026

KETTLE_HALF = 0.081  # of an edge
KETTLE_HEIGHTS = (-0.0738, 0.0687)  # of the body in the kettle's frame
KETTLE_MASS = 2.31
KETTLE_LIFT = 0.0737  # of the frame above the table
LID_HALF = 0.052
LID_TOP = 0.105  # the lid is a part of the kettle here
LID_MASS = 0.16
KETTLE_HANDLE = ((0.075, 0.0, 0.043), (0.1585, 0.0, 0.043), (0.1585, 0.0, -0.028), (0.075, 0.0, -0.028))
KETTLE_HANDLE_RADIUS = 0.0115
SPOUT = ((-0.09, 0.0, -0.02), (-0.18, 0.0, 0.05))
SPOUT_RADIUS = 0.0175


def add_cup(scene: SceneBuilder, top: float) -> None:
    """Add the cup "object" on a table of height `top`, with the points "right handle" and "left handle"."""
    cup = scene.add_free_body("object", (0.0, 0.0, top + CUP_LIFT), euler=(0.0, 0.0, ACROSS))
    _add_round(scene, cup, "cup", CUP_HALF, CUP_HEIGHTS, mass=CUP_MASS, rgba=STEEL)
    for side, outwards, rgba in (("right", 1.0, ORANGE), ("left", -1.0, BLUE)):
        line = [(outwards * along, 0.0, up) for along, up in CUP_HANDLE]
        _add_bent_bar(scene, cup, f"{side} handle", line, CUP_HANDLE_RADIUS, CUP_HANDLE_MASS, rgba=rgba)
    scene.add_point("right handle", "object", (0.062, 0.0, 0.0))
    scene.add_point("left handle", "object", (-0.06, 0.0, 0.0))


def add_bottle(scene: SceneBuilder, pos: Vector) -> None:
    """Add the bottle "object", its cap on the slide "cap slide" and the hinge "cap turn", and its points.

    These are "bottle", its frame, "neck", where the cap is at the start, and "cap", which slides and does not turn. The
    cap of 2.6 g has armatures, as it would diverge when squeezed.
    """
    bottle = scene.add_free_body("object", pos, euler=(0.0, BOTTLE_TILT, 0.0))
    for part, (radius, low, high), mass in zip(("body", "neck"), (BOTTLE_BODY, BOTTLE_NECK), BOTTLE_MASS):
        line = [0.0, 0.0, low, 0.0, 0.0, high]
        look = {"fromto": line, "mass": mass, "friction": STICKY, "rgba": BLUE}
        scene.add_geom(bottle, f"bottle {part}", "object", CAPSULE, [radius], **look)
    slide = bottle.add_body(name="cap slide", mass=1e-4, inertia=[1e-8] * 3, explicitinertial=True)
    slide.add_joint(
        name="cap slide",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0.0, 0.0, 1.0],
        limited=True,
        range=[0.0, CAP_TRAVEL],
        stiffness=[5.0, 0.0, 0.0],
        damping=[1.0, 0.0, 0.0],
        armature=0.02,
    )
    cap = slide.add_body(name="cap", pos=[0.0, 0.0, CAP_PLACE])
    hinge = mujoco.mjtJoint.mjJNT_HINGE
    cap.add_joint(name="cap turn", type=hinge, axis=[0.0, 0.0, 1.0], damping=[1e-3, 0.0, 0.0], armature=1e-5)
    scene.add_geom(cap, "cap", "object", BOX, CAP_HALF, mass=CAP_MASS, friction=STICKY, rgba=ORANGE)
    scene.spec.add_exclude(bodyname1="object", bodyname2="cap")
    scene.add_point("bottle", "object")
    scene.add_point("neck", "object", (0.0, 0.0, 0.15))
    scene.add_point("cap", "cap slide", CAP_ORIGIN)


def add_kettle(scene: SceneBuilder, top: float) -> None:
    """Add the kettle "object" on a table of height `top`, its handle to the right, with the points "handle", "spout".

    Spout and body are not hollow: nothing flows.
    """
    kettle = scene.add_free_body("object", (0.0, 0.0, top + KETTLE_LIFT), euler=(0.0, 0.0, ACROSS))
    _add_round(scene, kettle, "kettle", KETTLE_HALF, KETTLE_HEIGHTS, mass=KETTLE_MASS, rgba=STEEL)
    _add_round(scene, kettle, "lid", LID_HALF, (KETTLE_HEIGHTS[1], LID_TOP), mass=LID_MASS, rgba=STEEL)
    _add_bent_bar(scene, kettle, "handle", KETTLE_HANDLE, KETTLE_HANDLE_RADIUS, 0.065, rgba=ORANGE)
    _add_bent_bar(scene, kettle, "spout", SPOUT, SPOUT_RADIUS, 0.083, rgba=STEEL)
    scene.add_point("handle", "object", (0.15, 0.0, 0.0))
    scene.add_point("spout", "object", (-0.2, 0.0, 0.07))


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
