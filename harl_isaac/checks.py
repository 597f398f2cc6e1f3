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
            raise ValueError("%s.%s=%s; possible: %s" % (group, name, getattr(cfg, name), ", ".join(possible)))


def check_ranges(cfg, ranges: Iterable[Tuple[str, float, float]]) -> None:
    """Raises ValueError where a setting (name, lowest, highest) lies outside."""
    for name, low, high in ranges:
        if not low <= getattr(cfg, name) <= high:
            bounds = "at least %g" % low if high == INFINITY else "within %g and %g" % (low, high)
            raise ValueError("algo.%s=%g must be %s" % (name, getattr(cfg, name), bounds))


def check_hidden(cfg) -> None:
    """Raises ValueError for networks without a hidden layer."""
    if not cfg.hidden or min(cfg.hidden) < 1:
        raise ValueError("algo.hidden=%s: give at least one layer of at least one unit, such as [256,256]" % cfg.hidden)


def check_split(cfg: Any, spec: EnvSpec, name: str) -> None:
    """Raises ValueError where a number of minibatches does not divide the rows (or sequences) of a batch."""
    rows, what = cfg.rollout_length * spec.num_envs, "batch"
    if cfg.recurrent:
        rows, what = rows // cfg.chunk_length, "sequences of chunk_length %d in the batch" % cfg.chunk_length
    check_divides(cfg, spec, name, rows, what)


def check_divides(cfg, spec: EnvSpec, name: str, rows: int, what: str) -> None:
    """Raises ValueError where the setting `name` does not divide the rows of `what`."""
    count = getattr(cfg, name)
    if count < 1 or rows % count:
        raise ValueError("algo.%s=%d does not divide the %s of %d (rollout_length %d x num_envs %d)" % (
            name, count, what, rows, cfg.rollout_length, spec.num_envs))
