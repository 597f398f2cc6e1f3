"""Placement of the replay buffer: on the environments' device, or on the host."""

from typing import Tuple

import torch

from harl_isaac.memory import free_bytes

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
