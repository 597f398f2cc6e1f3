"""The bucket of Bi-DexterousHands, of boxes in the extents of its mesh; sizes in m, masses in kg.

In its frame, which is the original's, z is up. The wall is a cone of plates; it has no handle, as there.
"""

import math
from typing import Sequence

import mujoco

from harl_isaac.tasks.hands.objects import ORANGE
from harl_isaac.tasks.hands.scene import SceneBuilder

BUCKET_FOOT = 0.053  # below the origin
BUCKET_LIFT = BUCKET_FOOT - 0.0001  # of the origin above a table: both engines find the contact at once
BUCKET_RIM = 0.0445  # above it
BUCKET_MASS = 0.29
PLATES = 12
RADII = (0.034, 0.057)  # of the wall's outside at the foot, at the rim
WALL = 0.003  # half of its thickness
PLATE = 0.0145  # half of a plate's width: at the rim 1.6 mm are open between two, at the foot they overlap
FLOOR = (0.024, 0.024, 0.003)  # half sizes of each of two squares, one turned by 45 degrees
STEP = 0.001  # from the foot up to the plates and to the second square: at rest only the first touches a table
BOX = mujoco.mjtGeom.mjGEOM_BOX


def add_bucket(scene: SceneBuilder, name: str, pos: Sequence[float], rgba: Sequence[float] = ORANGE) -> None:
    """Add a free upright bucket with its origin at `pos`, on a table BUCKET_LIFT above its top."""
    bucket = scene.add_free_body(name, pos)
    look = {"mass": BUCKET_MASS / (PLATES + 2), "rgba": rgba}
    for number, turn in enumerate((0.0, math.pi / 4)):
        middle = [0.0, 0.0, -BUCKET_FOOT + FLOOR[2] + number * STEP]
        scene.add_geom(
            bucket, f"{name} floor {number}", "object", BOX, FLOOR, pos=middle, euler=[0.0, 0.0, turn], **look
        )
    foot, rim = RADII
    height = BUCKET_RIM + BUCKET_FOOT - STEP
    lean = math.atan2(rim - foot, height)
    half = [WALL, PLATE, height / 2 / math.cos(lean) - WALL * math.tan(lean)]  # its lower edge is not below the foot
    radius = (foot + rim) / 2 - WALL / math.cos(lean)
    middle_height = (BUCKET_RIM - BUCKET_FOOT + STEP) / 2
    for number in range(PLATES):
        turn = 2.0 * math.pi * number / PLATES
        middle = [radius * math.cos(turn), radius * math.sin(turn), middle_height]
        angles = [0.0, lean, turn]  # leaned out, then turned about z
        scene.add_geom(bucket, f"{name} plate {number}", "object", BOX, half, pos=middle, euler=angles, **look)
