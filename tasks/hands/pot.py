"""The pot of Bi-DexterousHands, of boxes and capsules in the extents of its mesh; sizes in m, masses in kg.

In its frame, which is the original's, z is up and the handles are at +-y. Masses and inertias are those of the
original's file, whose inertia is that of a larger body. The bowl is closed by its lid, so it is solid here.
"""

import math
from typing import Any, Sequence

import mujoco

from harl_isaac.tasks.hands.hand import SIDES
from harl_isaac.tasks.hands.objects import GHOST, ORANGE
from harl_isaac.tasks.hands.scene import SceneBuilder
from harl_isaac.tasks.hands.table_objects import BLUE, BOX, CAPSULE, STEEL

POT_MASS = 3.0
LID_MASS = 1.0
INERTIA = (0.2, 0.4, 0.4)  # [kg m^2] of each
POT_LIFT = 0.0651  # of the origin above a table: both engines find the contact at once
FOOT = (0.08, 0.08, 0.0005)  # half sizes of a square below the bowl: a table is touched in four points
BOWL = (0.118, -0.0642, 0.0515)  # apothem of an octagon, height of its bottom, of its top
LID = (0.115, 0.0516, 0.0611)
LID_TRAVEL = 0.06  # that it can be lifted
KNOB = (0.033, 0.0455, 0.096)  # y of its posts, of its ends, height
HANDLE = (0.051, 0.1747, 0.0629)  # a bar: x of its end, y, height
PRONG = (0.029, 0.115, 0.02)  # where one of its two posts meets the bowl
THIN = 0.0055  # radius of bars
POINT = (0.15, 0.06)  # y and height of a handle's point, between bar and bowl
FRICTION = (2.0, 0.005, 0.0001)  # PhysX's mean of the pot's 3 and of a hand's 1
DARK = (0.3, 0.32, 0.35, 1.0)


def add_pot(scene: SceneBuilder, name: str, pos: Sequence[float]) -> None:
    """Add a free upright pot with a lid on the slide "lid", and the points "right handle" and "left handle"."""
    inertial = {"ipos": [0.0] * 3, "iquat": [1.0, 0.0, 0.0, 0.0], "inertia": INERTIA, "explicitinertial": True}
    pot = scene.add_free_body(name, pos, mass=POT_MASS, **inertial)
    _add_part(scene, pot, "foot", BOX, FOOT, pos=[0.0, 0.0, BOWL[1] - FOOT[2]], rgba=STEEL)
    _add_octagon(scene, pot, "bowl", BOWL, STEEL)
    for side, toward, rgba in zip(SIDES, (1.0, -1.0), (ORANGE, BLUE)):
        x, y, z = HANDLE
        bar = [-x, toward * y, z, x, toward * y, z]
        _add_part(scene, pot, f"{side} bar", CAPSULE, [THIN], fromto=bar, rgba=rgba)
        for end in (-1.0, 1.0):
            line = [end * PRONG[0], toward * PRONG[1], PRONG[2], end * PRONG[0], toward * y, z]
            _add_part(scene, pot, f"{side} prong {end:g}", CAPSULE, [THIN], fromto=line, rgba=rgba)
        scene.add_point(f"{side} handle", name, (0.0, toward * POINT[0], POINT[1]))
    lid = pot.add_body(name="lid", mass=LID_MASS, **inertial)
    slide = mujoco.mjtJoint.mjJNT_SLIDE
    lid.add_joint(name="lid", type=slide, axis=[0.0, 0.0, 1.0], limited=True, range=[0.0, LID_TRAVEL])
    _add_octagon(scene, lid, "lid", LID, DARK)
    post, end, z = KNOB
    _add_part(scene, lid, "knob", CAPSULE, [THIN], fromto=[0.0, -end, z, 0.0, end, z], rgba=DARK)
    for y in (-post, post):
        _add_part(scene, lid, f"knob {y:g}", CAPSULE, [THIN], fromto=[0.0, y, LID[2], 0.0, y, z], rgba=DARK)


def add_pot_goal(scene: SceneBuilder, name: str, pos: Sequence[float]) -> None:
    """Add a goal that looks like the pot's bowl."""
    _add_octagon(scene, scene.add_goal(name, pos), name, BOWL, GHOST, "nothing")


def _add_octagon(
    scene: SceneBuilder, body: Any, name: str, size: Sequence[float], rgba: Any, contacts: str = "object"
) -> None:
    """Add a regular octagon as four boxes from edge to edge; size: apothem, bottom, top."""
    apothem, bottom, top = size
    half = [apothem, apothem * math.tan(math.pi / 8), (top - bottom) / 2]
    for number in range(4):
        pose = {"pos": [0.0, 0.0, (bottom + top) / 2], "euler": [0.0, 0.0, number * math.pi / 4]}
        _add_part(scene, body, f"{name} {number}", BOX, half, contacts, rgba=rgba, **pose)


def _add_part(
    scene: SceneBuilder, body: Any, name: str, kind: Any, size: Any, contacts: str = "object", **values: Any
) -> None:
    scene.add_geom(body, name, contacts, kind, size, mass=0.0, friction=FRICTION, **values)
