"""Objects of the hand tasks, built of primitive shapes. Each sets its own contacts; sizes in m, masses in kg."""

import math
from typing import Sequence

import mujoco

from harl_isaac.tasks.hands.scene import SceneBuilder

EGG_MASS = 4.0 / 3.0 * math.pi * 0.03 * 0.03 * 0.04 * 500.0  # ellipsoid .03 x .03 x .04 m of density 500 kg/m^3
# Shape, size, mass. The egg is the capsule of the original ellipsoid's extents: ellipsoid contacts differ between
# float32 and float64 collision code, capsule contacts do not.
SHAPES = {
    "egg": (mujoco.mjtGeom.mjGEOM_CAPSULE, (0.03, 0.01, 0.0), EGG_MASS),
    "ellipsoid": (mujoco.mjtGeom.mjGEOM_ELLIPSOID, (0.03, 0.03, 0.04), EGG_MASS),
    "ball": (mujoco.mjtGeom.mjGEOM_SPHERE, (0.0335, 0.0, 0.0), 0.0787),
    "cube": (mujoco.mjtGeom.mjGEOM_BOX, (0.025, 0.025, 0.025), 0.0709),
}
ORANGE = (0.9, 0.55, 0.2, 1.0)
GHOST = (0.2, 0.8, 0.3, 0.35)  # of goals


def add_shape(scene: SceneBuilder, name: str, shape: str, pos: Sequence[float], rgba: Sequence[float] = ORANGE) -> None:
    """Add a free body of one of SHAPES. Raises ValueError for an unknown one."""
    kind, size, mass = known_shape(shape)
    scene.add_geom(scene.add_free_body(name, pos), name, "object", kind, size, mass=mass, rgba=rgba)


def add_shape_goal(scene: SceneBuilder, name: str, shape: str, pos: Sequence[float]) -> None:
    """Add a goal that looks like one of SHAPES. Raises ValueError for an unknown one."""
    kind, size, _ = known_shape(shape)
    scene.add_geom(scene.add_goal(name, pos), name, "nothing", kind, size, condim=3, rgba=GHOST)


def known_shape(shape: str) -> tuple:
    """Kind, size and mass of a shape. Raises ValueError for an unknown one."""
    if shape not in SHAPES:
        raise ValueError(f"object {shape!r} is unknown; possible: {', '.join(SHAPES)}")
    return SHAPES[shape]
