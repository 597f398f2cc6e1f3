"""Time and signals of a training run."""

import signal
import time
from contextlib import suppress
from typing import Any, Dict, Tuple

import torch

# Ctrl-C, a scheduler's end, and the warning before it (Slurm's --signal=USR1@60), which Windows does not have.
SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGUSR1") if hasattr(signal, name)]

Instant = Any  # a float [s], or a torch.cuda.Event on a CUDA device


class Stopwatch:
    """Measures the seconds of an iteration and of its collection; on CUDA by events, so that nothing waits."""

    begin: Instant
    middle: Instant

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def start(self) -> None:
        """Begin an iteration."""
        self.begin = self._mark()

    def lap(self) -> None:
        """Mark the end of the collection."""
        self.middle = self._mark()

    def stop(self) -> Tuple[float, float]:
        """(seconds since start, seconds from start to lap). Call it after the metrics were read."""
        end = self._mark()
        if self.cuda:
            end.synchronize()
        return self._seconds(self.begin, end), self._seconds(self.begin, self.middle)

    def _mark(self) -> Instant:
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def _seconds(self, first: Instant, second: Instant) -> float:
        return first.elapsed_time(second) / 1e3 if self.cuda else second - first


class StopSignal:
    """Turns the first of SIGNALS into a request to stop after this iteration; a second Ctrl-C interrupts."""

    def __init__(self) -> None:
        self.requested = False
        self._handlers: Dict[int, Any] = {}  # signal number -> the handler before

    def __enter__(self) -> "StopSignal":
        for number in SIGNALS:
            with suppress(ValueError):  # not the main thread: the program around this one handles signals
                self._handlers[number] = signal.signal(number, self._request)
        return self

    def _request(self, number: int, frame: Any) -> None:
        self.requested = True
        with suppress(OSError, ValueError):  # nobody may be reading
            print("\nstopping after this iteration, with a checkpoint", flush=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *error: object) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
