"""Tables and what lies on them, built of primitive shapes; sizes in m, masses in kg.

The objects that are articulated in Bi-DexterousHands have its frames and points, and shapes of the extents of its
meshes. Two shapes rub with the larger one of their frictions, and a hand's is 1.
"""

import math
from typing import Any, Sequence

import mujoco

from harl_isaac.tasks.hands.objects import GHOST, ORANGE
from harl_isaac.tasks.hands.scene import SceneBuilder

BOX = mujoco.mjtGeom.mjGEOM_BOX
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
WOOD = (0.55, 0.42, 0.3, 1.0)
STEEL = (0.7, 0.72, 0.75, 1.0)
BLUE = (0.25, 0.45, 0.8, 1.0)
LYING = (math.pi / 2, math.pi / 2, 0.0)  # [rad] of pens and blocks; the originals' are 1.57, which is a slight tilt

BLOCK = 0.025  # half an edge
BLOCK_LIFT = BLOCK - 0.0001  # of the center above the table: both engines find the contact at once
BLOCK_MASS = 0.0709  # of density 567 kg/m^3

PEN_RADIUS = 0.0115
PEN_MASS = 0.05
CAP_MASS = 0.0275
PEN_LIFT = 0.013  # of the axis above the table, 1.5 mm clear of it
CAP_TRAVEL = 0.492

SCISSORS_HALF_MASS = 0.104
SCISSORS_RADIUS = 0.0075  # of the grips
SCISSORS_LIFT = 0.009
SCISSORS_CLOSED = -0.59  # [rad]
SCISSORS_RANGE = (-0.597, 0.4)  # [rad]
SCISSORS_HINGE = (-0.0038, 0.0698, 0.0)  # in the scissors' frame, of which x is the world's y at the start
SCISSORS_AXIS = -math.pi / 2 - 0.268  # [rad] direction of the grips about z, when closed
BLADE = (0.11, 0.012, 0.004)  # half sizes
GRIP = ((0.0, 0.0), (0.19, 0.012), (0.205, 0.055), (0.25, 0.055), (0.265, 0.015), (0.19, 0.012))  # along, across


def add_table(
    scene: SceneBuilder, size: Sequence[float], friction: float = 1.0, at: Sequence[float] = (0.0, 0.0)
) -> None:
    """Add a fixed table of size (x, y, z) that stands on the floor with its middle at (x, y)."""
    half = [edge / 2 for edge in size]
    pos = [*at, half[2]]
    rubbing = [friction, 0.005, 0.0001]
    scene.add_geom(scene.spec.worldbody, "table", "fixture", BOX, half, pos=pos, friction=rubbing, rgba=WOOD)


def add_blocks(scene: SceneBuilder, top: float, y: float, friction: float) -> None:
    """Add the free cubes "object" at y, and "block" at -y, on a table of height `top`.

    Their centers are the points "right block" and "left block".
    """
    add_block(scene, "object", "right block", top, y, friction, ORANGE)
    add_block(scene, "block", "left block", top, -y, friction, BLUE)


def add_block(
    scene: SceneBuilder, name: str, point: str, top: float, y: float, friction: float, rgba: Sequence[float]
) -> None:
    """Add a free cube at y on a table of height `top`; its center is the point `point`."""
    body = scene.add_free_body(name, (0.0, y, top + BLOCK_LIFT), euler=LYING)
    rubbing = [friction, 0.005, 0.0001]
    scene.add_geom(body, name, "object", BOX, [BLOCK] * 3, mass=BLOCK_MASS, friction=rubbing, rgba=rgba)
    scene.add_point(point, name)


def add_block_goal(scene: SceneBuilder, name: str, pos: Sequence[float]) -> None:
    """Add a goal that looks like a block."""
    scene.add_geom(scene.add_goal(name, pos), name, "nothing", BOX, [BLOCK] * 3, condim=3, rgba=GHOST)


def add_capped_stick(scene: SceneBuilder, top: float) -> None:
    """Add the pen "object" on a table of height `top`, its cap on the slide "cap", and points "cap" and "barrel".

    It lies along the world's y, which is its -z, and the cap comes off towards +y. About its axis it has an inertia of
    5e-6 kg m^2: pressed on the table it would spin at up to 10^4 rad/s and diverge, hence an armature, 12 % of its
    inertia across, and a drag.
    """
    pen = scene.spec.worldbody.add_body(name="object", pos=[0.0, 0.0, top + PEN_LIFT], euler=LYING)
    pen.add_joint(name="object", type=mujoco.mjtJoint.mjJNT_FREE, armature=1e-4, damping=[1e-3, 0.0, 0.0])
    size = [PEN_RADIUS]
    line = [0.0, 0.0, 0.18, 0.0, 0.0, -0.02]
    scene.add_geom(pen, "barrel", "object", CAPSULE, size, fromto=line, mass=PEN_MASS, rgba=BLUE)
    cap = pen.add_body(name="cap")
    cap.add_joint(
        name="cap",
        type=mujoco.mjtJoint.mjJNT_SLIDE,
        axis=[0.0, 0.0, -1.0],
        limited=True,
        range=[0.0, CAP_TRAVEL],
        stiffness=[1.0, 0.0, 0.0],
        damping=[0.5, 0.0, 0.0],
    )
    line = [0.0, 0.0, -0.05, 0.0, 0.0, -0.18]
    scene.add_geom(cap, "cap", "object", CAPSULE, size, fromto=line, mass=CAP_MASS, rgba=ORANGE)
    scene.add_point("cap", "cap", (0.0, 0.0, -0.10))
    scene.add_point("barrel", "object", (0.0, 0.0, 0.07))


def add_scissors(scene: SceneBuilder, top: float) -> None:
    """Add closed scissors "object" on a table of height `top`: hinge "hinge", points "right grip" and "left grip".

    The left half has the free joint; the right half turns on it. The halves do not touch each other.
    """
    left = scene.add_free_body("object", (0.0, 0.0, top + SCISSORS_LIFT), euler=(0.0, 0.0, math.pi / 2))
    _add_half(scene, left, left.add_frame(pos=SCISSORS_HINGE, euler=(0.0, 0.0, SCISSORS_AXIS)), "left", -1.0)
    turn = (0.0, 0.0, SCISSORS_CLOSED)
    right = left.add_body(name="right half", pos=SCISSORS_HINGE, euler=turn)
    right.add_joint(
        name="hinge",
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0.0, 0.0, 1.0],
        limited=True,
        range=SCISSORS_RANGE,
        ref=SCISSORS_CLOSED,
        damping=[0.001, 0.0, 0.0],
    )
    _add_half(scene, right, right.add_frame(euler=(0.0, 0.0, SCISSORS_AXIS - SCISSORS_CLOSED)), "right", 1.0)
    scene.spec.add_exclude(bodyname1="object", bodyname2="right half")
    scene.add_point("right grip", "right half", (0.1, -0.2, 0.0))
    scene.add_point("left grip", "object", (-0.1, -0.15, 0.0))


def _add_half(scene: SceneBuilder, body: Any, frame: Any, side: str, across: float) -> None:
    """Add a blade along -x of a frame at the hinge, and a grip along x."""
    parts = len(GRIP)
    mass = SCISSORS_HALF_MASS / parts
    middle = [-BLADE[0], 0.0, 0.0]
    blade = scene.add_geom(body, f"{side} blade", "object", BOX, BLADE, pos=middle, mass=mass, rgba=STEEL)
    blade.set_frame(frame)
    for number, (start, end) in enumerate(zip(GRIP, GRIP[1:])):
        line = [start[0], across * start[1], 0.0, end[0], across * end[1], 0.0]
        name = f"{side} grip {number}"
        grip = scene.add_geom(body, name, "object", CAPSULE, [SCISSORS_RADIUS], fromto=line, mass=mass, rgba=ORANGE)
        grip.set_frame(frame)
