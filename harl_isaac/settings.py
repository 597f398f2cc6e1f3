"""The settings of a task, and the checks that settings share. (Those of an algorithm: learning/learner.py.)

Importing this costs nothing: worker processes read settings without torch.
"""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Iterable, Tuple

from harl_isaac.env import EnvSpec, MultiAgentEnv

if TYPE_CHECKING:
    import torch

INFINITY = float("inf")


@dataclass
class TaskCfg(ABC):
    """Settings of a task: a dataclass whose fields all have defaults, and how its environments are built.

    A task of one's own derives from this class; a line in tasks/__init__.py names it. The fields become the keys
    task.*.
    """

    name: str = ""  # by which the task was chosen

    @abstractmethod
    def make(self, num_envs: int, device: "torch.device", sim: str) -> MultiAgentEnv:
        """Build `num_envs` environments on `device`; `sim` names the physics engine (auto, mujoco, mujoco_warp).

        Raises ValueError for settings that cannot run, MissingSimulator where a package is not installed.
        """

    def foreign_code(self) -> str:
        """Code outside of this project and its known packages that these settings run, as key=value; "" for none.

        A run folder from elsewhere runs it only with its user's consent (training/trust.py).
        """
        return ""

    def pickled_state(self) -> str:
        """The simulator whose saved state is a pickle, which can run any code when it is read; "" for none."""
        return ""


def check_choices(group: str, cfg: Any, choices: Iterable[Tuple[str, Iterable[str]]]) -> None:
    """Raise ValueError where a setting (name, possible values) of the group task or algo is none of those possible."""
    for name, possible in choices:
        value = getattr(cfg, name)
        if value not in possible:
            raise ValueError(f"{group}.{name}={value}; possible: {', '.join(possible)}")


def check_ranges(cfg: Any, ranges: Iterable[Tuple[str, float, float]]) -> None:
    """Raise ValueError where a setting (name, lowest, highest) of the algorithm lies outside."""
    for name, low, high in ranges:
        value = getattr(cfg, name)
        if not low <= value <= high:
            bounds = f"at least {low:g}" if high == INFINITY else f"within {low:g} and {high:g}"
            raise ValueError(f"algo.{name}={value:g} must be {bounds}")


def check_hidden(cfg: Any) -> None:
    """Raise ValueError for networks without a hidden layer."""
    if not cfg.hidden or min(cfg.hidden) < 1:
        raise ValueError(f"algo.hidden={cfg.hidden}: give at least one layer of at least one unit, such as [256,256]")


def check_minibatches(cfg: Any, spec: EnvSpec, name: str) -> None:
    """Raise ValueError where a number of minibatches does not divide the rows (or sequences) of a batch."""
    rows = cfg.rollout_length * spec.num_envs
    what = "batch"
    if cfg.recurrent:
        rows = rows // cfg.chunk_length
        what = f"sequences of chunk_length {cfg.chunk_length} in the batch"
    check_divides(cfg, spec, name, rows, what)


def check_divides(cfg: Any, spec: EnvSpec, name: str, rows: int, what: str) -> None:
    """Raise ValueError where the setting `name` does not divide the rows of `what`."""
    count = getattr(cfg, name)
    if count < 1 or rows % count:
        raise ValueError(
            f"algo.{name}={count} does not divide the {what} of {rows} "
            f"(rollout_length {cfg.rollout_length} x num_envs {spec.num_envs})"
        )
