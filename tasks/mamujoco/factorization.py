"""Factorization of a body into agents: the joints that each has and those that it observes, as names and sets.

Source: gymnasium-robotics' mamujoco_v1 (Peng et al., 2021): distances are counted in a hypergraph of joints.
"""

import re
from typing import Dict, FrozenSet, List, Sequence, Tuple

Group = Tuple[str, ...]
MOST_SEGMENTS = 100  # more take MuJoCo minutes to compile


def agents_joints(agents: str, joints: Sequence[str], named: Dict[str, str]) -> List[Group]:
    """Each agent's joints in the order of its actions.

    `agents` is a name in `named`, NxM (N agents with M consecutive ones of `joints` each), or joints as
    a+b,c+d. Raises ValueError unless every joint of `joints` has exactly one agent.
    """
    size = re.match(r"(\d+)x(\d+)$", agents)
    if agents not in named and size and int(size[1]) * int(size[2]) == len(joints):
        each = int(size[2])
        return [tuple(joints[i : i + each]) for i in range(0, len(joints), each)]
    groups = [tuple(group.split("+")) for group in named.get(agents, agents).split(",")]
    if sorted(joint for group in groups for joint in group) != sorted(joints):
        raise ValueError(_impossible(agents, joints, named))
    return groups


def _impossible(agents: str, joints: Sequence[str], named: Dict[str, str]) -> str:
    """Message for agents that do not divide the joints, with those that do."""
    count = len(joints)
    sizes = [f"{n}x{count // n}" for n in range(1, count + 1) if count % n == 0]
    possible = list(named) + [size for size in sizes if size not in named]
    example = "+".join(joints[:-1]) + "," + joints[-1]
    return (
        f"agents={agents}: give one of {', '.join(possible)}, or groups that name each of {', '.join(joints)} once, "
        f"such as {example}"
    )


def segments(agents: str, joints_each: int) -> int:
    """Number of segments of a body of any length: N x M of NxM, or as many as joints are named.

    Raises ValueError for fewer than two, and where a segment's joints are not all named.
    """
    size = re.match(r"(\d+)x(\d+)$", agents)
    joints = agents.count("+") + agents.count(",") + 1
    if not size and joints % joints_each:
        raise ValueError(
            f"agents={agents}: give NxM (N agents with M segments each), or all {joints_each} joints of each segment"
        )
    number = int(size[1]) * int(size[2]) if size else joints // joints_each
    if not 2 <= number <= MOST_SEGMENTS:
        raise ValueError(f"agents={agents}: give two segments or more, at most {MOST_SEGMENTS}")
    return number


def joints_by_distance(own: Group, edges: Sequence[FrozenSet[str]], k: int, labels: Dict[str, str]) -> List[List[str]]:
    """Joints at distance 0 (the agent's own), 1, ..., k, each distance sorted by label (a joint's name if it has none).

    There are fewer distances where there is no joint further away. Two joints are neighbors where an edge holds both.
    """

    def label(joint: str) -> Tuple[str, str]:
        return labels.get(joint, joint), joint

    layers = [set(own)]
    known = set(own)
    for _ in range(k):
        near = {joint for edge in edges if edge & layers[-1] for joint in edge} - known
        if not near:
            break
        layers.append(near)
        known |= near
    return [sorted(layer, key=label) for layer in layers]


def tree_edges(parents: Dict[str, str], joints_of: Dict[str, List[str]]) -> List[FrozenSet[str]]:
    """Edges of a kinematic tree, `parents` body -> parent body, `joints_of` body -> its actuated joints.

    A body's joints neighbor those of the next body towards the root that has any. Where there is none (limbs that meet
    at a trunk) the limbs of one trunk neighbor each other.
    """
    edges: List[FrozenSet[str]] = []
    trunks: Dict[str, List[str]] = {}
    for body, joints in joints_of.items():
        root = body
        above = parents[body]
        while above in parents and above not in joints_of:
            root = above
            above = parents[above]
        if above in joints_of:
            edges.append(frozenset(joints + joints_of[above]))
        else:
            trunks.setdefault(root, []).extend(joints)
    return edges + [frozenset(joints) for joints in trunks.values()]
