"""Placement of the replay buffer: on the environments' device, or on the host."""

import os
from typing import Tuple

import torch

PLACEMENTS = ("auto", "device", "host")

Shape = Tuple[int, int, torch.dtype]  # rows, width, dtype


def bytes_of(shape: Shape) -> int:
    """Memory of a tensor of this shape."""
    rows, width, dtype = shape
    return rows * width * torch.empty(0, dtype=dtype).element_size()


def choose_placement(needed: int, transitions: int, device: torch.device, placement: str) -> torch.device:
    """The device for `needed` bytes: `device`, the host, or (auto) the host where `device` is too small.

    Raises ValueError with the numbers where they do not fit.
    """
    host = torch.device("cpu")
    too_large = device != host and needed > free_bytes(device)
    if placement == "host" or (placement == "auto" and too_large and needed <= free_bytes(host)):
        device = host
    check_fits(needed, transitions, device)
    return device


def check_fits(needed: int, transitions: int, device: torch.device) -> None:
    """Raise ValueError with the numbers where a replay does not fit the device's free memory."""
    free = free_bytes(device)
    if needed > free:
        fitting = int(0.8 * free * transitions / needed)
        raise ValueError(
            f"a replay of {transitions} transitions needs {needed / 2**30:.2f} GiB and {device} has {free / 2**30:.2f} "
            f"GiB free; algo.buffer_size={fitting} would fit (algo.replay_dtype=float16 halves what is seen)"
        )


def free_bytes(device: torch.device) -> int:
    """Memory that a device still has for new tensors; of a GPU's a tenth is left to everything else."""
    if device.type == "cuda":
        return int(0.9 * torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
