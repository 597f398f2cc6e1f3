"""Settings of a task that move while it is trained: from an easy start to their own values."""

from dataclasses import dataclass, field
from typing import Dict, Iterable, Union

import torch
from torch import Tensor

from harl_isaac.settings import INFINITY, MOST_REPEATS, check_choices, check_ranges

BY = ("none", "steps", "success")
STEP = 0.1  # of the level where success raises it


@dataclass
class CurriculumCfg:
    """A course of settings of a task, from `start` to their own values, while its environments are played.

    The level rises from 0 to 1, and a setting is start + level x (own value - start). Evaluations and pictures are of
    the task itself, at level 1.
    """

    by: str = "none"  # none; steps: the level rises steadily; success: by a tenth where enough episodes succeed
    steps: int = 100_000  # [control steps] until the level is 1, by steps
    episodes: int = 500  # that the share of successes is taken of, by success
    success: float = 0.5  # share of successes that raises the level
    start: Dict[str, float] = field(default_factory=dict)  # first values by setting, e.g. joint_noise: 0


class Curriculum:
    """The level of a task's curriculum, on its device; nothing here waits for the device."""

    def __init__(self, cfg: CurriculumCfg, own: Dict[str, float], device: torch.device):
        """`own` has the settings of the task that may move, with their values.

        Raises ValueError for impossible settings, and for starts without a curriculum.
        """
        check_curriculum(cfg, own)
        self.active = cfg.by != "none"
        self.level = torch.full((), 0.0 if self.active else 1.0, device=device)
        self._cfg = cfg
        self._own = own
        self._ended = torch.zeros((), device=device)  # episodes since the level was judged
        self._succeeded = torch.zeros((), device=device)  # those of them with success

    def value(self, name: str) -> Union[float, Tensor]:
        """The present value of a setting: a number, or a tensor [] where it moves."""
        own = self._own[name]
        if name not in self._cfg.start:
            return own
        first = self._cfg.start[name]
        return first + self.level * (own - first)

    def advance(self, done: Tensor, success: Tensor) -> None:
        """Count a control step, and the episodes that ended with it; done, success [E] bool."""
        if self._cfg.by == "steps":
            self.level.add_(1.0 / self._cfg.steps).clamp_(max=1.0)
        if self._cfg.by == "success":
            self._ended += done.sum()
            self._succeeded += (done & success).sum()
            judged = self._ended >= self._cfg.episodes
            raised = judged & (self._succeeded >= self._cfg.success * self._ended)
            self.level.add_(STEP * raised).clamp_(max=1.0)
            self._ended.masked_fill_(judged, 0.0)
            self._succeeded.masked_fill_(judged, 0.0)

    def buffers(self) -> Dict[str, Tensor]:
        """Tensors that a checkpoint holds."""
        if not self.active:
            return {}
        return {"level": self.level, "episodes ended": self._ended, "episodes with success": self._succeeded}


def check_curriculum(cfg: CurriculumCfg, movable: Iterable[str]) -> None:
    """Raise ValueError for an impossible curriculum of a task with these settings that may move."""
    check_choices("task.curriculum", cfg, [("by", BY)])
    ranges = [("steps", 1, INFINITY), ("episodes", 1, MOST_REPEATS), ("success", 0, 1)]
    check_ranges(cfg, ranges, "task.curriculum")
    unknown = [name for name in cfg.start if name not in movable]
    if unknown:
        raise ValueError(
            f"task.curriculum.start: {', '.join(unknown)} does not move; possible: {', '.join(movable) or 'none'}"
        )
    if (cfg.by == "none") != (not cfg.start):
        raise ValueError(
            f"task.curriculum.by={cfg.by} with start={dict(cfg.start)}: give both by=steps or by=success and the first "
            "values of settings, such as task.curriculum.start.joint_noise=0, or neither"
        )
