"""The light switches of Bi-DexterousHands: a rocker each, of primitive shapes in its meshes' extents, in m and kg.

A rocker is a lever with one half raised, which goes down when it is pressed. The original's lever has no drive; here it
stays where it is left: without gravity, with drag. A hand pushes it with hundreds of newtons: hence an armature, and
limits that are hard.
"""

import mujoco

from harl_isaac.tasks.hands.hand import Vector
from harl_isaac.tasks.hands.objects import ORANGE
from harl_isaac.tasks.hands.scene import SceneBuilder
from harl_isaac.tasks.hands.table_objects import BLUE, BOX, STEEL

HOUSING = (0.0725, 0.051)  # half sizes; it stands on the table, where the original's ends 4 cm above
HOUSING_TOP = 0.0427  # above the switch's frame
HINGE = (0.0109, 0.0, 0.0417)  # in the switch's frame, in world axes
TRAVEL = 0.5585  # [rad]
MASS = 0.042  # of the lever
HALF = (0.021, 0.03, 0.005)  # half sizes of each half of the lever
SLOPE = 0.42  # [rad] of the raised half
POINT = (0.02, 0.0, 0.0)  # from the hinge to the hands; rewards and observations read it
DRAG = 0.05  # [Nms/rad]
ARMATURE = 1e-3  # [kg m^2]
LIMIT = {"solref_limit": [0.012, 1.0], "solimp_limit": [0.99, 0.99, 0.001, 0.5, 2.0]}


def add_rocker(scene: SceneBuilder, side: str, pos: Vector, top: float, near: bool) -> None:
    """Add a switch with its frame at `pos` on a table of height `top`: joint and point "right lever" or "left lever".

    The raised half is the one `near` the hands, which are at +x, or the other; pressing it turns the joint from 0 to
    TRAVEL.
    """
    x, y, z = pos
    height = (z + HOUSING_TOP - top) / 2
    place = [x, y, top + height]
    scene.add_geom(scene.spec.worldbody, f"{side} housing", "fixture", BOX, (*HOUSING, height), pos=place, rgba=STEEL)
    name = f"{side} lever"
    hinge = [x + HINGE[0], y, z + HINGE[2]]
    raised = 1.0 if near else -1.0
    lever = scene.spec.worldbody.add_body(name=name, pos=hinge, gravcomp=1.0)
    lever.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=[0.0, raised, 0.0],
        limited=True,
        range=[0.0, TRAVEL],
        damping=[DRAG, 0.0, 0.0],
        armature=ARMATURE,
        **LIMIT,
    )
    look = {"mass": MASS / 2, "rgba": ORANGE if side == "right" else BLUE}
    middle = raised * HALF[0]
    slope = [0.0, -raised * SLOPE, 0.0]
    scene.add_geom(lever, f"{side} raised half", "fixture", BOX, HALF, pos=[middle, 0.0, 0.0115], euler=slope, **look)
    scene.add_geom(lever, f"{side} flat half", "fixture", BOX, HALF, pos=[-middle, 0.0, -0.003], **look)
    scene.add_point(name, name, POINT)
