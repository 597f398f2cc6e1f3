"""A hand as data, and the settings of its physics. Needs no simulator: settings and adapters read it."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Callable, Mapping, Tuple

if TYPE_CHECKING:
    import mujoco

SIDES = ("right", "left")
Vector = Tuple[float, float, float]


@dataclass
class GainsCfg:
    """Multiples of the hand's own actuator values.

    With the Shadow hand's own (1, 1, 1) an exploring policy never lets go of the object: wrist torque over joint
    damping allows 4.4 rad/s. These are strong enough to throw by chance and soft enough to catch
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


def own_gains() -> PhysicsCfg:
    """Settings with the gains of the hand itself."""
    return PhysicsCfg(gains=GainsCfg(1.0, 1.0, 1.0))


def free_physics(substeps: int = 3) -> PhysicsCfg:
    """Settings where hands fly, for 60 Hz in `substeps` steps.

    With steps of 1/120 s their fingers pass the limits by 0.4 rad, of 1/180 s by 0.25.
    """
    return PhysicsCfg(timestep=1.0 / 60.0 / substeps, substeps=substeps)


def pressed_physics() -> PhysicsCfg:
    """Settings where hands are pressed on a table or a handle: in three substeps they pass the limits by 0.31 rad."""
    return free_physics(substeps=4)


@dataclass(frozen=True)
class Drive:
    """The drive of a joint to its target: a spring and a damper, whose torque together is limited."""

    stiffness: float  # [Nm/rad]
    damping: float  # [Nm s/rad]
    effort: float  # [Nm]
    armature: float  # [kg m^2] inertia of the motor at the joint


@dataclass(frozen=True)
class Hand:
    """A model of a hand: the names of its elements without the prefix, in the order of observations and actions."""

    prefix: str  # of all names in the model's file
    load: Callable[[GainsCfg, bool], "mujoco.MjSpec"]  # (gains, whether to keep meshes for rendering) -> the model
    mount: str  # body that is attached to the scene
    forearm: str  # body that the force and the torque of a free base act on
    palm: str  # body
    palm_point: Vector  # [m] the palm's center in the palm's frame
    tips: Tuple[str, ...]  # bodies of the fingertips
    tip_point: Vector  # [m] the fingertip in its body's frame
    joints: Tuple[str, ...]
    parts: Mapping[str, Tuple[str, ...]]  # joints with an actuator by part, in the order of actions; the palm first
    actuator_prefix: str = ""  # of the name of a joint's actuator
    limits: Mapping[str, Tuple[float, float]] = field(default_factory=dict)  # [rad] where not those of the file

    @property
    def actuated(self) -> Tuple[str, ...]:
        """Joints with an actuator, in the order of actions."""
        return tuple(joint for joints in self.parts.values() for joint in joints)

    def full_name(self, side: str, name: str) -> str:
        """Name of an element in the scene, e.g. ("right", "WRJ1") -> "right/robot0:WRJ1"."""
        return f"{side}/{self.prefix}{name}"

    def actuator(self, side: str, joint: str) -> str:
        """Name of a joint's actuator in the scene."""
        return self.full_name(side, self.actuator_prefix + joint)


def base_name(side: str) -> str:
    """Name of a free hand's base and its joint."""
    return f"{side} base"
