"""Seconds on a device, and how figures of several repeats are shown."""

import time
from typing import Any, Callable, Dict, List, NamedTuple, Sequence, Union

import torch

Spread = Dict[str, float]  # median, lowest, highest
Figures = Dict[str, Union[Spread, float]]  # by name


class Cost(NamedTuple):
    """Seconds that something took."""

    wall: float
    cpu: float  # of all threads of the process

    def plus(self, other: "Cost") -> "Cost":
        """Both together."""
        return Cost(self.wall + other.wall, self.cpu + other.cpu)

    def since(self, earlier: "Cost") -> "Cost":
        """The part after an earlier reading."""
        return Cost(self.wall - earlier.wall, self.cpu - earlier.cpu)


FREE = Cost(0.0, 0.0)


class Turns(NamedTuple):
    """Costs of two sides that take short turns, summed over each repeat: what disturbs one side disturbs both."""

    ours: List[Cost]
    bare: List[Cost]

    def after_warmup(self) -> "Turns":
        """All but the first repeat."""
        return Turns(self.ours[1:], self.bare[1:])

    def ratio(self) -> Figures:
        """Ours as a multiple of the other side, by wall time and by processor time."""
        return {"ratio": self._ratios("wall"), "cpu_ratio": self._ratios("cpu")}

    def _ratios(self, kind: str) -> Spread:
        return ratios([getattr(cost, kind) for cost in self.ours], [getattr(cost, kind) for cost in self.bare])


class Clock:
    """Seconds on a device: everything launched before is finished at each reading."""

    def __init__(self, device: torch.device):
        self.device = device

    def now(self) -> float:
        """Seconds since some moment."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def read(self) -> Cost:
        """Wall and processor seconds since some moment."""
        return Cost(self.now(), time.process_time())

    def time(self, function: Callable[..., Any], *args: Any) -> float:
        """Seconds of a call."""
        return self.cost(function, *args).wall

    def cost(self, function: Callable[..., Any], *args: Any) -> Cost:
        """Wall and processor seconds of a call."""
        begin = self.read()
        function(*args)
        return self.read().since(begin)


class Stopwatch:
    """Adds up one side's cost; it rests while the other side has its turn."""

    def __init__(self, clock: Clock):
        self.clock = clock
        self.total = FREE
        self.started = clock.read()

    def start(self) -> None:
        """Run from now on."""
        self.started = self.clock.read()

    def stop(self) -> None:
        """Rest, and add what has passed since `start`."""
        self.total = self.total.plus(self.clock.read().since(self.started))


def spread(values: Sequence[float]) -> Spread:
    """Median, lowest and highest."""
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "lowest": ordered[0], "highest": ordered[-1]}


def rates(count: int, seconds: Sequence[float]) -> Spread:
    """`count` things a second, of several times that they took."""
    return spread([count / each for each in seconds])


def speed(name: str, count: int, costs: Sequence[Cost]) -> Figures:
    """`count` things a second of wall and of processor time, of several costs that they had."""
    return {
        f"{name}_per_second": rates(count, [cost.wall for cost in costs]),
        f"{name}_per_cpu_second": rates(count, [cost.cpu for cost in costs]),
    }


def seconds(name: str, costs: Sequence[Cost]) -> Figures:
    """Wall and processor seconds."""
    return {
        f"{name}_seconds": spread([cost.wall for cost in costs]),
        f"{name}_cpu_seconds": spread([cost.cpu for cost in costs]),
    }


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
