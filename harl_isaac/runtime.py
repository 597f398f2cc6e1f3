"""How this process uses the CPU: threads of torch, memory that tensors leave free, waiting threads."""

import ctypes
from contextlib import contextmanager
from typing import Iterator

import torch

# of glibc's malloc.h  # of glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST_MMAP_THRESHOLD = 32 << 20  # that glibc takes on 64 bits  # that glibc takes on 64 bits


def keep_freed_memory() -> None:
    """What a tensor on the CPU leaves free stays with this process for the next one (glibc only, elsewhere nothing is done).

    By default it goes back to the system in the middle of every update, and returns page by page.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)


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
