"""This process: torch's threads, the memory that freed tensors leave, garbage, and words for those who wait."""

import ctypes
import gc
import sys
import threading
from contextlib import contextmanager, suppress
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


@contextmanager
def said_if_slow(text: str, seconds: float = 5.0) -> Iterator[None]:
    """Say `text` on stderr where what is done here takes longer than some seconds."""

    def say() -> None:
        with suppress(OSError, ValueError):  # nobody may be reading
            print(text, file=sys.stderr, flush=True)

    timer = threading.Timer(seconds, say)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    """Collect garbage before, and none while this lasts: what is freed while a graph is captured becomes part of it."""
    gc.collect()
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
