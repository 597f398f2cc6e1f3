"""The Shadow hand of the hand tasks: the names and order of its parts, and the settings of its physics."""

import math
from dataclasses import dataclass, field
from typing import Tuple

SIDES = ("right", "left")
DIGITS = ("FF", "MF", "RF", "LF", "TH")
JOINTS = (
    "WRJ1",
    "WRJ0",
    "FFJ3",
    "FFJ2",
    "FFJ1",
    "FFJ0",
    "MFJ3",
    "MFJ2",
    "MFJ1",
    "MFJ0",
    "RFJ3",
    "RFJ2",
    "RFJ1",
    "RFJ0",
    "LFJ4",
    "LFJ3",
    "LFJ2",
    "LFJ1",
    "LFJ0",
    "THJ4",
    "THJ3",
    "THJ2",
    "THJ1",
    "THJ0",
)
COUPLED = ("FFJ0", "MFJ0", "RFJ0", "LFJ0")  # driven by a tendon from J1, no actuator of their own
ACTUATED = tuple(joint for joint in JOINTS if joint not in COUPLED)
COUPLING_TENDONS = tuple(f"T_{digit}J1c" for digit in DIGITS[:4])
Mount = Tuple[Tuple[float, float, float], float]  # where a hand is fixed: position [m], yaw [rad]
OBJECT_DENSITY = 500.0  # [kg/m^3]
EGG_MASS = 4.0 / 3.0 * math.pi * 0.03 * 0.03 * 0.04 * OBJECT_DENSITY  # [kg] ellipsoid .03 x .03 x .04 m


@dataclass
class GainsCfg:
    """Multiples of the hand file's actuator values.

    With the file's own (1, 1, 1) an exploring policy never lets go of the object: wrist torque over joint damping
    allows 4.4 rad/s. These are strong enough to throw by chance and soft enough to catch
    (docs/results/ShadowHandOver.md).
    """

    kp: float = 3.0  # position gain
    force: float = 5.0  # force limit
    damping: float = 1.0  # joint damping


@dataclass
class PhysicsCfg:
    """Solver settings shared by all hand scenes."""

    timestep: float = 1.0 / 120.0  # [s]
    substeps: int = 2  # physics steps in one control step: 60 Hz
    gains: GainsCfg = field(default_factory=GainsCfg)  # of the actuators


def full_name(side: str, name: str) -> str:
    """Name of a hand's element in the scene, e.g. ("right", "WRJ1") -> "right/robot0:WRJ1"."""
    return f"{side}/robot0:{name}"
