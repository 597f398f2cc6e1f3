"""CPU use of this process: the threads of torch, and the memory that freed tensors leave."""

import ctypes
from contextlib import contextmanager
from typing import Iterator

import torch
from torch import Tensor

# Parameters of mallopt, from glibc's malloc.h
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
LARGEST_MMAP_THRESHOLD = 32 << 20  # [bytes] that glibc accepts on 64 bits


def keep_freed_memory() -> None:
    """Keep freed CPU memory in this process (glibc) instead of returning it to the kernel.

    By default it is returned in the middle of every update, and comes back page by page. Without glibc nothing is done.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):  # another C library, another system
        return
    mallopt(M_MMAP_THRESHOLD, LARGEST_MMAP_THRESHOLD)
    mallopt(M_TRIM_THRESHOLD, 1 << 30)


@contextmanager
def one_thread(device: torch.device, small: bool = True) -> Iterator[None]:
    """Run on one thread of the CPU if `small`: operations for which waking others costs more than it saves.

    The physics has threads of its own. On other devices nothing changes.
    """
    threads = torch.get_num_threads()
    if device.type == "cpu" and small:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)


def any_without_sync(mask: Tensor) -> bool:
    """Whether a mask holds anywhere. True where an answer would wait for a device: that costs work only."""
    return mask.device.type != "cpu" or bool(mask.numpy().any())
