"""The torch device of a run."""

import torch


def choose_device(name: str) -> torch.device:
    """The torch device of a setting. Raises ValueError where this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name} is not a device; possible: auto, cpu, cuda, cuda:1, ...") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device={name} is not supported; possible: auto, cpu, cuda, cuda:1, ...")
    count = torch.cuda.device_count() if device.type == "cuda" else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise ValueError(
            f"device={name}: this machine shows {count} CUDA device(s) to torch; use device=cpu{(f' or cuda:0..{count - 1}' if count else '')}"
        )
    return torch.device("cuda", device.index or 0) if device.type == "cuda" else device


def check_engine_device(sim: str, device: torch.device) -> None:
    """Training on MuJoCo Warp's CPU device would work, ten times slower than MuJoCo itself: surely a mistake."""
    if sim == "mujoco_warp" and device.type != "cuda":
        raise ValueError(f"sim=mujoco_warp trains on a CUDA device only, this run is on {device}; use sim=mujoco")
