"""Checks of settings; each raises ValueError with what was given and what is possible.

Importing this costs nothing: worker processes read settings without torch.
"""

from typing import Any, Iterable, Tuple

from harl_isaac.env import EnvSpec

INFINITY = float("inf")


def check_choices(group: str, cfg: Any, choices: Iterable[Tuple[str, Iterable[str]]]) -> None:
    """Raises ValueError where a setting (name, possible values) of the group task or algo is none of those possible."""
    for name, possible in choices:
        if getattr(cfg, name) not in possible:
            raise ValueError("{}.{}={}; possible: {}".format(group, name, getattr(cfg, name), ", ".join(possible)))


def check_ranges(cfg, ranges: Iterable[Tuple[str, float, float]]) -> None:
    """Raises ValueError where a setting (name, lowest, highest) lies outside."""
    for name, low, high in ranges:
        if not low <= getattr(cfg, name) <= high:
            bounds = f"at least {low:g}" if high == INFINITY else f"within {low:g} and {high:g}"
            raise ValueError(f"algo.{name}={getattr(cfg, name):g} must be {bounds}")


def check_hidden(cfg) -> None:
    """Raises ValueError for networks without a hidden layer."""
    if not cfg.hidden or min(cfg.hidden) < 1:
        raise ValueError(f"algo.hidden={cfg.hidden}: give at least one layer of at least one unit, such as [256,256]")


def check_split(cfg: Any, spec: EnvSpec, name: str) -> None:
    """Raises ValueError where a number of minibatches does not divide the rows (or sequences) of a batch."""
    rows = cfg.rollout_length * spec.num_envs
    what = "batch"
    if cfg.recurrent:
        rows = rows // cfg.chunk_length
        what = f"sequences of chunk_length {cfg.chunk_length} in the batch"
    check_divides(cfg, spec, name, rows, what)


def check_divides(cfg, spec: EnvSpec, name: str, rows: int, what: str) -> None:
    """Raises ValueError where the setting `name` does not divide the rows of `what`."""
    count = getattr(cfg, name)
    if count < 1 or rows % count:
        raise ValueError(
            f"algo.{name}={count} does not divide the {what} of {rows} (rollout_length {cfg.rollout_length} "
            f"x num_envs {spec.num_envs})"
        )
