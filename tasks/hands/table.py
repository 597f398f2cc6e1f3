"""Base of the tasks in which two hands that fly work on what lies on a table."""

from dataclasses import dataclass, field

from harl_isaac.tasks.hands.hand import PhysicsCfg, pressed_physics
from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.observation import TailBlock
from harl_isaac.tasks.hands.reaching import ReachTask
from harl_isaac.tasks.hands.settings import FreeHandsCfg

TOP = 0.6  # [m] height of the tables
NARROW = (0.5, 1.0, TOP)  # [m] size of a table
WIDE = (1.0, 1.0, TOP)


@dataclass
class PressedHandsCfg(FreeHandsCfg):
    """Settings of tasks in which hands press on the table."""

    physics: PhysicsCfg = field(default_factory=pressed_physics)


class TableTask(ReachTask):
    """Hands above a table, palms down."""

    mounts = MOUNTS["table"]
    base = free_base(0.5, 0.1)
    camera = ((-0.9, -0.65, 1.23), (0.5735, -0.8192, 0, 0.3210, 0.2248, 0.9199))


def goal_place(name: str) -> TailBlock:
    """Position 3 of a goal."""
    return TailBlock(name, 3, lambda s: s.goal(name).pos)


def padding(width: int) -> TailBlock:
    """Zeros, which the originals' observation ends with."""
    return TailBlock("padding", width, lambda s: s.constant((0.0,) * width))
