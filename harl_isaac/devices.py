"""The torch device of a run."""

import torch

from harl_isaac import ranks

PRECISIONS = ("highest", "high")


def choose_device(name: str) -> torch.device:
    """The torch device that the setting `device` names. Raises ValueError where this machine lacks it."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device={name} is not a device; possible: auto, cpu, cuda, cuda:1, ...") from None
    if device.type == "cpu":
        if device.index:
            raise ValueError(f"device={name}: there is one cpu; use device=cpu")
        return torch.device("cpu")
    if device.type != "cuda":
        raise ValueError(f"device={name} is not supported; possible: auto, cpu, cuda, cuda:1, ...")
    index = device.index or 0
    count = torch.cuda.device_count()
    if index >= count:
        others = f" or cuda:0..{count - 1}" if count else ""
        raise ValueError(f"device={name}: this machine shows {count} CUDA device(s) to torch; use device=cpu{others}")
    return torch.device("cuda", index)


def own_device(name: str) -> torch.device:
    """The device that the setting `device` names, made torch's current one; of several processes each has its own GPU.

    Raises ValueError as `choose_device` does, and where a machine has more processes than GPUs.
    """
    device = choose_device(name)
    if device.type != "cuda":
        return device
    if ranks.world() > 1 and device.index in (None, 0):
        count = torch.cuda.device_count()
        if ranks.local_rank() >= count:
            raise ValueError(f"device={name}: {count} GPU(s) for more processes; start one for each, or device=cpu")
        device = torch.device("cuda", ranks.local_rank())
    torch.cuda.set_device(device)
    return device


def set_precision(name: str) -> None:
    """Set how exact products of float32 are on a GPU: "highest", or "high" by TensorFloat-32. Raises ValueError."""
    if name not in PRECISIONS:
        raise ValueError(f"precision={name} is unknown; possible: {', '.join(PRECISIONS)}")
    torch.set_float32_matmul_precision(name)


def products_are_exact() -> bool:
    """Whether products of float32 round alike however they are grouped, but for their last bits."""
    return torch.get_float32_matmul_precision() == "highest"


def check_engine_device(sim: str, device: torch.device) -> None:
    """Raise ValueError for MuJoCo Warp without a CUDA device: it would train ten times slower than MuJoCo itself."""
    if sim == "mujoco_warp" and device.type != "cuda":
        raise ValueError(f"sim=mujoco_warp trains on a CUDA device only, this run is on {device}; use sim=mujoco")
