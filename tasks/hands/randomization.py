"""Settings of domain randomization: what differs between environments and from episode to episode, and how much."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Callable, Dict, List, Optional, Union

from harl_isaac.settings import MOST_STEPS, check_choices, check_ranges

if TYPE_CHECKING:
    from torch import Tensor

Range = List[float]  # lowest and highest
Value = Union[float, Range]
Draw = Callable[[int], "Tensor"]  # size -> numbers [E, size]


@dataclass
class RandomizationCfg:
    """Ranges that a new episode draws from. What is null keeps the preset's value, which `none` has for nothing.

    Factors multiply the task's own values. Each hand and each object has a factor for its mass and inertia; an object
    has one for its size, at the same mass; one factor is that of all friction; each actuator and joint has its own.
    """

    preset: str = "none"  # none; bidex: the ranges of Bi-DexterousHands, which are off there by default
    strength: float = 1.0  # share of each range that is used, 0: nothing
    every: int = 0  # [control steps] that values stay at least, until an episode begins; 0: an episode
    object_mass: Optional[List[float]] = None  # factor, uniform
    hand_mass: Optional[List[float]] = None  # factor, uniform; the drag of hands that fly follows
    object_size: Optional[List[float]] = None  # factor, uniform
    friction: Optional[List[float]] = None  # factor, uniform
    stiffness: Optional[List[float]] = None  # factor of the actuators' position gains, log-uniform
    damping: Optional[List[float]] = None  # factor of the joints' and their actuators' damping, log-uniform
    joint_limits: Optional[float] = None  # [rad] deviation of what is added to each limit of a joint
    gravity: Optional[float] = None  # [m/s^2] deviation of what is added to gravity along each axis
    observation_noise: Optional[float] = None  # deviation, drawn at each step; the critic's state has none
    observation_offset: Optional[float] = None  # deviation of what is added to all observations of an episode
    action_noise: Optional[float] = None  # deviation, drawn at each step
    action_offset: Optional[float] = None  # deviation of what is added to all actions of an episode
    latency: Optional[List[int]] = None  # [control steps] from an action to its effect, least and most


# Of each setting, the bounds of its numbers.
BOUNDS = {
    "object_mass": (1e-3, 1e3),
    "hand_mass": (0.1, 10.0),
    "object_size": (0.5, 2.0),
    "friction": (0.0, 1e3),
    "stiffness": (1e-3, 1e3),
    "damping": (0.0, 1e3),
    "joint_limits": (0.0, 0.5),
    "gravity": (0.0, 100.0),
    "observation_noise": (0.0, 10.0),
    "observation_offset": (0.0, 10.0),
    "action_noise": (0.0, 10.0),
    "action_offset": (0.0, 10.0),
    "latency": (0, 60),
}
RANGES = ("object_mass", "hand_mass", "object_size", "friction", "stiffness", "damping", "latency")
LOG_UNIFORM = ("stiffness", "damping")
# Bi-DexterousHands' task files at commit dc41afd, e.g. ShadowHandOver.yaml, lines 52 to 152; there every 600 steps.
PRESETS: Dict[str, Dict[str, Value]] = {
    "none": {},
    "bidex": {
        "object_mass": [0.5, 1.5],
        "hand_mass": [0.5, 1.5],
        "object_size": [0.95, 1.05],
        "friction": [0.7, 1.3],
        "stiffness": [0.75, 1.5],
        "damping": [0.3, 3.0],
        "joint_limits": 0.01,
        "gravity": 0.4,
        "observation_noise": 0.002,
        "observation_offset": 0.001,
        "action_noise": 0.05,
        "action_offset": 0.015,
    },
}


def chosen(cfg: RandomizationCfg) -> Dict[str, Value]:
    """Ranges or deviations of all that is randomized: the preset's, and over them those that are given.

    Raises ValueError for impossible ones.
    """
    check_choices("task.randomization", cfg, [("preset", PRESETS)])
    check_ranges(cfg, [("strength", 0, 1), ("every", 0, MOST_STEPS)], "task.randomization")
    values = {**PRESETS[cfg.preset], **given(cfg)}
    for name, value in values.items():
        _check(name, value)
    return {name: value for name, value in values.items() if not _is_nothing(name, value)}


def given(cfg: RandomizationCfg) -> Dict[str, Value]:
    """The ranges and deviations that are given beside the preset."""
    return {name: getattr(cfg, name) for name in BOUNDS if getattr(cfg, name) is not None}


def _check(name: str, value: Value) -> None:
    """Raise ValueError where a range or a deviation is impossible."""
    low, high = BOUNDS[name]
    bounds = f"within {low:g} and {high:g}"
    ends = [value] if isinstance(value, (int, float)) else list(value)
    inside = all(low <= end <= high for end in ends)
    if name in RANGES:
        inside = inside and len(ends) == 2 and ends == sorted(ends)
        bounds = f"a range [lowest,highest] {bounds}"
    if name in LOG_UNIFORM:
        inside = inside and ends[0] > 0.0
        bounds += ", above 0"
    if not inside or len(ends) != (2 if name in RANGES else 1):
        raise ValueError(f"task.randomization.{name}={value} must be {bounds}")


def _is_nothing(name: str, value: Value) -> bool:
    """Whether a range or a deviation changes nothing."""
    neutral = 0 if name == "latency" else 1.0
    return value in (0.0, [neutral, neutral], (neutral, neutral))
