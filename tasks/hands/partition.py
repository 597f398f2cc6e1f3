"""Partition of a Shadow hand among agents: the parts of a hand, and the groups of them that act as one agent."""

from typing import List, Sequence, Tuple

from harl_isaac.tasks.hands.shadow_hand import SIDES

# Action slots of each part of a hand, in Bi-DexterousHands' order and numbering; the palm has the wrist's joints.
PARTS = {
    "palm": (0, 1),
    "FF": (2, 3, 4),
    "MF": (5, 6, 7),
    "RF": (8, 9, 10),
    "LF": (11, 12, 13, 14),
    "TH": (15, 16, 17, 18, 19),
}


def hand_groups(agents: str) -> List[Tuple[str, ...]]:
    """Groups of parts of one hand, one agent each: "hands" -> one group of all, "fingers" -> a group for each part.

    Raises ValueError for groups that do not name each part once.
    """
    if agents == "hands":
        return [tuple(PARTS)]
    if agents == "fingers":
        return [(part,) for part in PARTS]
    groups = [tuple(group.split("+")) for group in agents.split(",")]
    named = [part for group in groups for part in group]
    if sorted(named) != sorted(PARTS):
        raise ValueError(
            f"agents={agents}: give hands, fingers, or groups that name each of {', '.join(PARTS)} once, "
            "such as palm+FF+MF,RF+LF+TH"
        )
    return groups


def agent_names(groups: Sequence[Sequence[str]]) -> Tuple[str, ...]:
    """Names of all agents, those of the right hand first: ("right hand", "left hand") where a hand is one agent."""
    names = ["+".join(group) for group in groups] if len(groups) > 1 else ["hand"]
    return tuple(f"{side} {name}" for side in SIDES for name in names)
