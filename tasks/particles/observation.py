"""Terms of the particle tasks' observations: each number is a difference of two rows of the table of the worlds."""

from typing import List, NamedTuple


class ObservationTerm(NamedTuple):
    """One number of an observation: a row of `group` less a row of `origin`, both numbered within their groups.

    Groups are the table's: agent, landmark, velocity, speech, color, goal, zero.
    """

    group: str
    row: int
    origin: str
    origin_row: int


def identity_terms(group: str, first: int, size: int) -> List[ObservationTerm]:
    """`size` numbers of a group as they are, from row `first` on."""
    return [ObservationTerm(group, first + i, "zero", 0) for i in range(size)]


def landmark_terms(agent: int, landmarks: int) -> List[ObservationTerm]:
    """Positions of the landmarks relative to an agent."""
    return [ObservationTerm("landmark", i, "agent", 2 * agent + i % 2) for i in range(2 * landmarks)]


def agent_terms(other: int, agent: int) -> List[ObservationTerm]:
    """Position of another agent relative to an agent."""
    return [ObservationTerm("agent", 2 * other + i, "agent", 2 * agent + i) for i in range(2)]
