"""Seconds, and how figures of several repeats are told."""

import time

import torch


class Clock:
    """Seconds on a device: everything launched before is finished at each reading."""

    def __init__(self, device: torch.device):
        self.device = device

    def now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def time(self, function, *args) -> float:
        begin = self.now()
        function(*args)
        return self.now() - begin


def spread(values):
    """Median, lowest and highest."""
    ordered = sorted(values)
    return {"median": ordered[len(ordered) // 2], "lowest": ordered[0], "highest": ordered[-1]}


def show(name: str, num_envs: int, figures) -> None:
    parts = []
    for key, value in figures.items():
        form = "%s %.4g [%.4g, %.4g]" if isinstance(value, dict) else "%s %.3g"
        parts.append(
            form
            % ((key, value["median"], value["lowest"], value["highest"]) if isinstance(value, dict) else (key, value))
        )
    print(f"{name:<6} {num_envs:6d} environments: {', '.join(parts)}", flush=True)
