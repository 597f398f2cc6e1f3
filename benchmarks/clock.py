"""Seconds on a device, and how figures of several repeats are shown."""

import time
from typing import Any, Callable, Dict, List, Sequence, Union

import torch

Spread = Dict[str, float]  # median, lowest, highest
Figures = Dict[str, Union[Spread, float]]  # by name


class Clock:
    """Seconds on a device: everything launched before is finished at each reading."""

    def __init__(self, device: torch.device):
        self.device = device

    def now(self) -> float:
        """Seconds since some moment."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def time(self, function: Callable[..., Any], *args: Any) -> float:
        """Seconds of a call."""
        begin = self.now()
        function(*args)
        return self.now() - begin


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest."""
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "lowest": ordered[0], "highest": ordered[-1]}


def rates(count: int, seconds: Sequence[float]) -> Spread:
    """`count` things a second, of several times that they took."""
    return spread([count / each for each in seconds])


def ratios(ours: Sequence[float], bare: Sequence[float]) -> Spread:
    """Ours as a multiple of the bare side, pair by pair."""
    return spread([a / b for a, b in zip(ours, bare)])


def describe(figures: Figures) -> str:
    """Figures in one line: median [lowest, highest], or the number alone."""
    parts: List[str] = []
    for name, value in figures.items():
        if isinstance(value, dict):
            parts.append(f"{name} {value['median']:.4g} [{value['lowest']:.4g}, {value['highest']:.4g}]")
        else:
            parts.append(f"{name} {value:.3g}")
    return ", ".join(parts)


def show(name: str, num_envs: int, figures: Figures) -> None:
    """Print the figures of one measurement."""
    print(f"{name:<6} {num_envs:6d} environments: {describe(figures)}", flush=True)
