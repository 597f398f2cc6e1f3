"""The double door of Bi-DexterousHands, of primitive shapes in the extents of its meshes.

Two leaves hang on vertical hinges at the outer edges and meet in the middle; each has a D-shaped handle of capsules on
both faces. The original's point of a handle, which rewards and observations read, lies inside the D. Springs and drag
are those that the original writes; whether PhysX applies them is not known. Friction is 0.1 as there, but MuJoCo takes
the larger one of two surfaces, and that of a hand is 1.
"""

from typing import Any

import mujoco

from harl_isaac.tasks.hands.hand import SIDES
from harl_isaac.tasks.hands.layout import DOOR, DOOR_OPEN
from harl_isaac.tasks.hands.scene import SceneBuilder

LEAF = (0.009, 0.21, 0.4625)  # [m] half sizes
LEAF_MASS = 4.25  # [kg]
LEAF_TOP = 0.483  # [m] above the door's frame
HINGES = (0.4265, -0.4204)  # [m] y of the right leaf's, of the left's
HINGE_X = -0.007  # [m]
STIFFNESS = 5.0  # [Nm/rad] of the hinges
DAMPING = 1.0  # [Nms/rad]
FRICTION = (0.1, 0.005, 0.0001)
BAR_RADIUS = 0.0115  # [m]
BAR_HALF = 0.13  # [m]
BAR_DISTANCE = 0.075  # [m] from the middle of the leaf
BAR_PLACE = (0.375, -0.0435)  # [m] of a bar's center: from the hinge along the leaf, above the door's frame
POINT = (0.04, 0.39, -0.017)  # [m] of a handle: through the leaf to the hands, along it, above the door's frame
WOOD = (0.55, 0.4, 0.25, 1.0)
STEEL = (0.75, 0.75, 0.78, 1.0)
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE


def add_double_door(scene: SceneBuilder, inward: bool, rest: float) -> None:
    """Add "right leaf" and "left leaf" on joints "right hinge" and "left hinge", and the points "right handle" and
    "left handle".

    Angles are 0 where the door is closed, and springs pull to `rest` [rad]. Outward it opens away from the hands, to
    -x; inward the whole door is turned about y, and opens to +x.
    """
    door = scene.spec.worldbody.add_body(name="door", pos=DOOR, quat=[0, 0, 1, 0] if inward else [1, 0, 0, 0])
    for side, hinge, toward in zip(SIDES, HINGES, (-1.0, 1.0)):
        leaf = door.add_body(name=f"{side} leaf", pos=[HINGE_X, hinge, 0.0], gravcomp=1.0)
        leaf.add_joint(
            name=f"{side} hinge",
            type=mujoco.mjtJoint.mjJNT_HINGE,
            axis=[0.0, 0.0, toward],
            limited=True,
            range=[0.0, DOOR_OPEN],
            stiffness=[STIFFNESS, 0.0, 0.0],
            springref=rest,
            damping=[DAMPING, 0.0, 0.0],
        )
        middle = [0.0, toward * LEAF[1], LEAF_TOP - LEAF[2]]
        box = mujoco.mjtGeom.mjGEOM_BOX
        _add_part(scene, leaf, f"{side} leaf", box, LEAF, pos=middle, mass=LEAF_MASS, rgba=WOOD)
        for face, x in (("front", BAR_DISTANCE), ("back", -BAR_DISTANCE)):
            _add_handle(scene, leaf, f"{side} {face}", x, toward * BAR_PLACE[0])
        through = -POINT[0] if inward else POINT[0]
        scene.add_point(f"{side} handle", f"{side} leaf", (through, toward * POINT[1], POINT[2]))


def _add_handle(scene: SceneBuilder, leaf: Any, name: str, x: float, y: float) -> None:
    """Add a bar along z at x, y [m] of a leaf, and from each of its ends a post to the leaf; all without mass."""
    z = BAR_PLACE[1]
    look = {"mass": 0.0, "rgba": STEEL}
    _add_part(scene, leaf, f"{name} bar", CAPSULE, (BAR_RADIUS, BAR_HALF), pos=[x, y, z], **look)
    for end, height in (("upper", z + BAR_HALF), ("lower", z - BAR_HALF)):
        line = [0.0, y, height, x, y, height]
        _add_part(scene, leaf, f"{name} {end} post", CAPSULE, (BAR_RADIUS,), fromto=line, **look)


def _add_part(scene: SceneBuilder, leaf: Any, name: str, kind: "mujoco.mjtGeom", size: Any, **values: Any) -> None:
    scene.add_geom(leaf, name, "fixture", kind, size, friction=FRICTION, **values)
