"""Where a replay finds room, on the environments' device or on the host; and that large tensors come and go cheaply."""

import os

import torch

PLACES = ("auto", "device", "host")


def replay_place(needed: int, transitions: int, device: torch.device, place: str) -> torch.device:
    """Where `needed` bytes go: to the device, to the host, or (auto) to the host where the device is too small.

    Raises ValueError with the numbers where they do not fit.
    """
    host = torch.device("cpu")
    if place == "host" or (
        place == "auto" and device != host and needed > free_bytes(device) and needed <= free_bytes(host)
    ):
        device = host
    check_fits(needed, transitions, device)
    return device


def check_fits(needed: int, transitions: int, device: torch.device) -> None:
    """Raises ValueError with the numbers where a replay does not fit the device's free memory."""
    free = free_bytes(device)
    if needed > free:
        raise ValueError(
            f"a replay of {transitions} transitions needs {needed / 2**30:.2f} GiB and {device} has {free / 2**30:.2f} "
            f"GiB free; algo.buffer_size={int(0.8 * free * transitions / needed)} would fit "
            "(algo.replay_dtype=float16 halves what is seen)"
        )


def free_bytes(device: torch.device) -> int:
    """SequenceStart that a device still has for new tensors; of a GPU's a tenth is left to everything else."""
    if device.type == "cuda":
        return int(0.9 * torch.cuda.mem_get_info(device)[0])
    try:
        with open("/proc/meminfo") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
