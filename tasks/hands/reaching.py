"""Base of the tasks in which two hands that fly reach for objects, and touch each other as well."""

from typing import TYPE_CHECKING, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.hands.base import TwoHands
from harl_isaac.tasks.hands.observation import TailBlock
from harl_isaac.tasks.hands.settings import FreeHandsCfg
from harl_isaac.tasks.hands.signals import Signals

if TYPE_CHECKING:
    from harl_isaac.tasks.hands.scene import SceneBuilder


class ReachTask(TwoHands):
    """A task adds its objects in `build`, after the fingertips of the hands."""

    cfg: FreeHandsCfg
    hands_meet = True
    base_point = "palm"

    def build(self, scene: "SceneBuilder") -> None:
        """Name the fingertips."""
        scene.add_fingertips()

    @classmethod
    def reach(cls, s: Signals, side: str, point: str) -> Tensor:
        """Sum of the distances of a hand's five fingertips to a named point, [E] m."""
        tips = torch.stack([s.point(f"{side} {tip}") for tip in cls.hand.tips], dim=1)  # [E, 5, 3]
        return (tips - s.point(point)[:, None]).norm(dim=2).sum(1)


def fixed_body(name: str, pos: Tuple[float, ...], quat: Tuple[float, ...]) -> TailBlock:
    """Position, orientation xyzw, and the six velocities of a body that never moves: constants that originals have."""
    values = (*pos, *quat, *(0.0,) * 6)
    return TailBlock(name, len(values), lambda s: s.constant(values))
