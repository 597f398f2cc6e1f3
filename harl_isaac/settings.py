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
LARGEST = 1e12  # of settings without an upper bound: their squares are still numbers in float32
MOST_REPEATS = 1_000_000  # of what an iteration does over and over: epochs, updates
MOST_STEPS = 1_000_000  # of an episode: evaluations play whole ones
MOST_AGENTS = 1000  # that a task makes: as many networks are updated one after the other
ENGINES = ("auto", "mujoco", "mujoco_warp")  # possible values of `sim`


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

    def with_pictures(self) -> "TaskCfg":
        """These settings, for an environment that will be asked for pictures by its `render()`."""
        return self

    def for_evaluation(self) -> "TaskCfg":
        """These settings, for environments that judge a policy: a curriculum is at its end."""
        return self

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


def check_ranges(cfg: Any, ranges: Iterable[Tuple[str, float, float]], group: str = "algo") -> None:
    """Raise ValueError where a setting (name, lowest, highest) lies outside, or is no number.

    INFINITY stands for any number up to LARGEST, -INFINITY for any down to -LARGEST.
    """
    for name, low, high in ranges:
        value = getattr(cfg, name)
        if not max(low, -LARGEST) <= value <= min(high, LARGEST):
            bounds = f"a number of at least {max(low, -LARGEST):g}"
            if high < INFINITY:
                bounds = f"within {low:g} and {high:g}"
            elif value > LARGEST:
                bounds += f", at most {LARGEST:g}"
            raise ValueError(f"{group}.{name}={value:g} must be {bounds}")


def check_limits(cfg: Any, names: Iterable[str], group: str = "algo") -> None:
    """Raise ValueError where one of these settings, which may be inf for no limit, is negative or no number."""
    for name in names:
        value = getattr(cfg, name)
        if not value >= 0.0:
            raise ValueError(f"{group}.{name}={value:g} must be at least 0; inf: no limit")


def check_engine(sim: str) -> None:
    """Raise ValueError for a physics engine that does not exist; tasks without physics have no use for one."""
    if sim not in ENGINES:
        raise ValueError(f"sim={sim} is unknown; possible: {', '.join(ENGINES)}")


def check_seed(seed: int) -> None:
    """Raise ValueError for a seed that the generators do not take, or one to which no other can be added."""
    if not -(2**62) <= seed <= 2**62:
        raise ValueError(f"seed={seed} must lie within -2^62 and 2^62")


def check_hidden(cfg: Any) -> None:
    """Raise ValueError for networks without a hidden layer. (Too large ones: learning/estimates.py.)"""
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


def check_frozen(cfg: Any, spec: EnvSpec) -> None:
    """Raise ValueError where algo.frozen names no agent, leaves none to train, or agents share their network."""
    unknown = [name for name in cfg.frozen if name not in spec.agents]
    given = f"algo.frozen=[{','.join(cfg.frozen)}]"
    if unknown:
        raise ValueError(f"{given}: {', '.join(unknown)} is no agent; possible: {', '.join(spec.agents)}")
    if cfg.frozen and getattr(cfg, "share_param", False):
        raise ValueError(f"{given} with algo.share_param=true: agents that share a network learn together; give one")
    if set(cfg.frozen) == set(spec.agents):
        raise ValueError(f"{given} leaves no agent to train")
