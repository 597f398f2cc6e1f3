"""How many of the CPU's threads torch uses."""

from contextlib import contextmanager
from typing import Iterator

import torch


@contextmanager
def one_thread(device: torch.device, small: bool = True) -> Iterator[None]:
    """On the CPU, for operations too small to be worth waking other threads (the physics has its own)."""
    threads = torch.get_num_threads()
    if device.type == "cpu" and small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)
