"""Time and signals of a training run."""

import signal
import time

import torch


class Stopwatch:
    """Seconds of an iteration and of its collection; on CUDA by events, so that nothing waits."""

    def __init__(self, device: torch.device):
        self.cuda = device.type == "cuda"

    def _now(self):
        if not self.cuda:
            return time.perf_counter()
        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event

    def start(self) -> None:
        self.begin = self._now()

    def lap(self) -> None:
        self.middle = self._now()

    def stop(self):
        """(seconds since start, seconds from start to lap). Call it after the metrics were read."""
        end = self._now()
        if not self.cuda:
            return end - self.begin, self.middle - self.begin
        end.synchronize()
        return self.begin.elapsed_time(end) / 1e3, self.begin.elapsed_time(self.middle) / 1e3


class StopSignal:
    """Turns the first Ctrl-C or SIGTERM into a wish to stop after this iteration; the second Ctrl-C interrupts."""

    def __enter__(self) -> "StopSignal":
        self.asked = False
        self.before = {}
        for number in (signal.SIGINT, signal.SIGTERM):
            try:
                self.before[number] = signal.signal(number, self._ask)
            except ValueError:  # not the main thread: whoever runs us there handles signals
                pass
        return self

    def _ask(self, number, frame) -> None:
        self.asked = True
        print("\nstopping after this iteration, with a checkpoint", flush=True)
        signal.signal(signal.SIGINT, signal.default_int_handler)

    def __exit__(self, *error) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
