"""Action spaces, and what gymnasium's spaces are among them.

Neither torch nor gymnasium is imported: an object of gymnasium's (or of gym's) is known by its attributes.
"""

import math
from dataclasses import dataclass
from typing import Any, Sequence, Tuple, Union

Bound = Union[float, Tuple[float, ...]]  # of all dimensions, or of each


@dataclass(frozen=True)
class Box:
    """`size` real numbers within [low, high]; actions arrive as float32 [E, size] within the bounds."""

    size: int
    low: Bound = -1.0
    high: Bound = 1.0


@dataclass(frozen=True)
class Discrete:
    """One of `n` choices; actions arrive as int64 [E, 1]."""

    n: int


@dataclass(frozen=True)
class MultiDiscrete:
    """Several choices at once; actions arrive as int64 [E, len(nvec)]."""

    nvec: Tuple[int, ...]


Space = Union[Box, Discrete, MultiDiscrete]
POSSIBLE = "Box, Discrete, MultiDiscrete (harl_isaac.env's or gymnasium's)"


def action_width(space: Space) -> int:
    """Numbers in one action: dimensions of a Box, 1 for Discrete, heads of a MultiDiscrete."""
    if isinstance(space, Box):
        return space.size
    return len(space.nvec) if isinstance(space, MultiDiscrete) else 1


def mask_width(space: Space) -> int:
    """Width of an action mask: choices of Discrete, all heads' choices in a row for MultiDiscrete, 0 for Box."""
    if isinstance(space, Box):
        return 0
    return sum(space.nvec) if isinstance(space, MultiDiscrete) else space.n


def action_space(space: Any, agent: str) -> Space:
    """The action space itself, or the one that a space of gymnasium is. Raises ValueError, naming the agent."""
    if isinstance(space, (Box, Discrete, MultiDiscrete)):
        return space
    kind = type(space).__name__
    if kind == "Box":
        return _box(space, agent)
    if kind == "Discrete":
        _refuse_start(space, agent, (space.start,) if hasattr(space, "start") else ())
        return Discrete(int(space.n))
    if kind == "MultiDiscrete":
        _expect_flat(space, agent)
        _refuse_start(space, agent, getattr(space, "start", ()))
        return MultiDiscrete(tuple(int(n) for n in space.nvec))
    raise ValueError(f"agent {agent} has actions {space}; possible: {POSSIBLE}")


def obs_width(size: Any, agent: str) -> int:
    """The width of an agent's observation: a number, or a flat Box of gymnasium. Raises ValueError."""
    if hasattr(size, "low") and hasattr(size, "shape"):
        if len(size.shape) != 1:
            raise ValueError(f"agent {agent} has observations {size}; give a flat Box, or its width, in obs_sizes")
        return int(size.shape[0])
    if not hasattr(size, "__index__"):
        raise ValueError(f"agent {agent} has observations {size}; give their width as obs_sizes, or a flat Box")
    return int(size)


def _box(space: Any, agent: str) -> Box:
    """A flat Box of gymnasium with finite real bounds."""
    _expect_flat(space, agent)
    low = tuple(map(float, space.low))
    high = tuple(map(float, space.high))
    if not all(map(math.isfinite, low + high)) or "float" not in str(space.dtype):
        raise ValueError(
            f"agent {agent} has actions {space}: neither without bounds nor whole numbers are possible; give finite "
            "real bounds"
        )
    uniform = len(set(low)) == 1 and len(set(high)) == 1
    return Box(len(low), low[0], high[0]) if uniform else Box(len(low), low, high)


def _expect_flat(space: Any, agent: str) -> None:
    if len(space.shape) != 1 or not space.shape[0]:
        raise ValueError(f"agent {agent} has actions {space} of shape {space.shape}; give a space of one dimension")


def _refuse_start(space: Any, agent: str, starts: Sequence[Any]) -> None:
    """Raise ValueError for choices that are not numbered from 0."""
    if any(int(start) for start in starts):
        raise ValueError(f"agent {agent} has actions {space}: choices arrive as 0, 1, ...; give start=0")
