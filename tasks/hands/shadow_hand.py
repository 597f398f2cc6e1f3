"""The Shadow hand: the names and order of its parts, as in Bi-DexterousHands (Chen et al., 2022)."""

from typing import TYPE_CHECKING, Tuple

from harl_isaac.tasks.hands.hand import GainsCfg, Hand

if TYPE_CHECKING:
    import mujoco

DIGITS = ("FF", "MF", "RF", "LF", "TH")
FINGER = ("J3", "J2", "J1", "J0")  # J0 is driven by a tendon from J1 and has no actuator of its own
THUMB = ("THJ4", "THJ3", "THJ2", "THJ1", "THJ0")


def load_shadow_hand(gains: GainsCfg, visual: bool) -> "mujoco.MjSpec":
    """One hand, with names as in its file; `visual` keeps the meshes for rendering."""
    from harl_isaac.tasks.hands.shadow_model import hand_spec

    return hand_spec(gains, visual)


def finger_joints(digit: str) -> Tuple[str, ...]:
    """Joints of a finger from the knuckle to the tip; the little finger has one more, in the palm."""
    return (("LFJ4",) if digit == "LF" else ()) + tuple(digit + joint for joint in FINGER)


SHADOW_HAND = Hand(
    prefix="robot0:",
    load=load_shadow_hand,
    mount="hand mount",
    forearm="forearm",
    palm="palm",
    palm_point=(0.0, -0.02, 0.08),
    tips=tuple(digit.lower() + "distal" for digit in DIGITS),
    tip_point=(0.0, 0.0, 0.02),
    joints=("WRJ1", "WRJ0") + sum((finger_joints(digit) for digit in DIGITS[:4]), ()) + THUMB,
    parts={
        "palm": ("WRJ1", "WRJ0"),
        **{digit: finger_joints(digit)[:-1] for digit in DIGITS[:4]},
        "TH": THUMB,
    },
    actuator_prefix="A_",
)
