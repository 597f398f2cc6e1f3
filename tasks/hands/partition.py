"""Partition of a hand among agents: the groups of its parts that act as one agent."""

from typing import List, Sequence, Tuple

from harl_isaac.tasks.hands.hand import SIDES, Hand
from harl_isaac.tasks.hands.shadow_hand import SHADOW_HAND


def hand_groups(agents: str, hand: Hand = SHADOW_HAND) -> List[Tuple[str, ...]]:
    """Groups of parts of one hand, one agent each: "hands" -> one group of all, "fingers" -> a group for each part.

    Raises ValueError for groups that do not name each part once.
    """
    if agents == "hands":
        return [tuple(hand.parts)]
    if agents == "fingers":
        return [(part,) for part in hand.parts]
    groups = [tuple(group.split("+")) for group in agents.split(",")]
    named = [part for group in groups for part in group]
    if sorted(named) != sorted(hand.parts):
        raise ValueError(
            f"agents={agents}: give hands, fingers, or groups that name each of {', '.join(hand.parts)} once, "
            f"such as {halves(hand)}"
        )
    return groups


def halves(hand: Hand) -> str:
    """A partition into two groups, as it is given: palm+FF+MF,RF+LF+TH."""
    parts = list(hand.parts)
    middle = len(parts) // 2
    return "+".join(parts[:middle]) + "," + "+".join(parts[middle:])


def agent_names(groups: Sequence[Sequence[str]]) -> Tuple[str, ...]:
    """Names of all agents, those of the right hand first: ("right hand", "left hand") where a hand is one agent."""
    names = ["+".join(group) for group in groups] if len(groups) > 1 else ["hand"]
    return tuple(f"{side} {name}" for side in SIDES for name in names)


def action_slots(group: Sequence[str], hand: Hand, base: int = 0) -> List[int]:
    """Slots of a group of parts in a hand's actions, in the order of its agent's action.

    `base`: channels that move the base; they come first, and belong to the first part.
    """
    slots = {joint: base + number for number, joint in enumerate(hand.actuated)}
    first = list(range(base))
    own = {part: [slots[joint] for joint in joints] for part, joints in hand.parts.items()}
    palm = next(iter(hand.parts))
    return [slot for part in group for slot in (first if part == palm else []) + own[part]]
