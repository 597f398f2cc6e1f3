"""Memory of a device: how much is free, and the refusal, with the numbers, of what does not fit."""

import os
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

import torch

from harl_isaac.env import EnvSpec, action_width

CGROUPS = Path("/sys/fs/cgroup")
# A container's limit, what it uses, and what of that is files that can be dropped: of cgroups 2, of cgroups 1.
LIMITS = (
    ("memory.max", "memory.current", "memory.stat", ("inactive_file", "active_file")),
    (
        "memory/memory.limit_in_bytes",
        "memory/memory.usage_in_bytes",
        "memory/memory.stat",
        ("total_inactive_file", "total_active_file"),
    ),
)
# Parts of the messages of torch's, numpy's and CUDA's allocators, which have no exception of their own in common.
SHORTAGES = (
    "out of memory",
    "can't allocate memory",
    "not enough memory",
    "Unable to allocate",
    "Storage size calculation overflowed",
    "numel: integer multiplication overflow",
    "bad_alloc",
)


def free_bytes(device: torch.device) -> int:
    """Memory that a device still has for new tensors; of a GPU's a tenth is left to everything else."""
    if device.type == "cuda":
        if not torch.cuda.is_available():
            return sys.maxsize  # who uses it says that it is not there
        return int(0.9 * torch.cuda.mem_get_info(device)[0])
    return min([_free_on_machine(), *_free_in_container()])


def check_fits(what: str, needed: float, device: torch.device, advice: str) -> None:
    """Raise ValueError, with both numbers, where `needed` bytes for something exceed the device's free memory."""
    free = free_bytes(device)
    if needed > free:
        raise ValueError(f"{what}: needs at least {gib(needed)} and {device} has {gib(free)} free; {advice}")


def check_envs_fit(spec: EnvSpec) -> None:
    """Raise ValueError, with the numbers, where environments of this spec do not fit their device.

    Counted are the observations, states, rewards and actions of the step that is made and of the one before it.
    """
    observed = sum(spec.obs_sizes) + spec.state_agents * spec.state_size
    acted = sum(action_width(space) for space in spec.actions)
    needed = 8 * (observed + acted + spec.reward_agents + 2) * spec.num_envs
    fitting = spec.num_envs * free_bytes(spec.device) // (10 * needed)  # a tenth, for the learner needs most
    advice = f"num_envs={fitting} would fit" if fitting else "use fewer or smaller agents"
    check_fits(f"num_envs={spec.num_envs} with {spec.num_agents} agents", needed, spec.device, advice)


def gib(count: float) -> str:
    """Bytes as GiB."""
    return f"{count / 2**30:,.2f} GiB" if count < 2**60 else f"{count / 2**30:.1e} GiB"


@contextmanager
def shortage_explained(advice: str) -> Iterator[None]:
    """A context in which an allocation that fails raises ValueError, in one line that ends with `advice`."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).strip().split("\n")[0] or type(error).__name__
        if not isinstance(error, MemoryError) and not any(part in text for part in SHORTAGES):
            raise
        raise ValueError(f"not enough memory ({text[:200]}); {advice}") from None


def _free_on_machine() -> int:
    try:
        with open("/proc/meminfo") as file:
            return next(1024 * int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    except (OSError, StopIteration):  # not Linux
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def _free_in_container() -> Iterator[int]:
    """Memory that the limit of the container leaves, if it has one; files in memory can be dropped."""
    for limit, used, statistics, droppable in LIMITS:
        with suppress(OSError, ValueError):  # no such limit ("max")
            lines = (CGROUPS / statistics).read_text().splitlines()
            files = sum(int(line.split()[1]) for line in lines if line.split()[0] in droppable)
            yield int((CGROUPS / limit).read_text()) - int((CGROUPS / used).read_text()) + files
