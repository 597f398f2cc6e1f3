"""Several processes that train one run: sums over them, and what they tell each other.

Each process (rank) has a share of the environments; networks, the order of updates and metrics are the same in all.
With one process every function here returns what it is given, and costs nothing.
"""

import os
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Iterator, List, NamedTuple, Optional, Sequence

import torch
import torch.distributed as dist
from torch import Tensor

PATIENCE = timedelta(minutes=30)  # that a rank waits for the others: the first may be writing, or drawing a film
SEED_STEP = 1_000_033  # between the seeds of two ranks' environments


class Place(NamedTuple):
    """A process among those of its run."""

    rank: int  # 0 logs and saves
    world: int  # number of processes
    local: int  # number among those of its machine, for the choice of a GPU
    neighbors: int = 1  # number of processes on its machine


class _State:
    place = Place(0, 1, 0)
    host: Optional[Any] = None  # group for what lies on the host: gloo, beside nccl's for a GPU


def launched() -> Optional[Place]:
    """The place that torchrun, or Slurm's srun, gave to this process; None where it was started alone."""
    env = os.environ
    if int(env.get("WORLD_SIZE", "1")) > 1 and "RANK" in env:
        world = int(env["WORLD_SIZE"])
        local = int(env.get("LOCAL_RANK", env["RANK"]))
        return Place(int(env["RANK"]), world, local, int(env.get("LOCAL_WORLD_SIZE", world)))
    if int(env.get("SLURM_STEP_NUM_TASKS", "1")) > 1 and "SLURM_PROCID" in env:
        world = int(env["SLURM_STEP_NUM_TASKS"])
        neighbors = int(env.get("SLURM_STEP_TASKS_PER_NODE", str(world)).partition("(")[0].partition(",")[0])
        return Place(int(env["SLURM_PROCID"]), world, int(env.get("SLURM_LOCALID", "0")), neighbors)
    return None


def connect(place: Place) -> None:
    """Meet the other processes, and be one of them until `leave`. Raises RuntimeError where they cannot be reached."""
    _set_meeting_place()
    backend = "nccl" if torch.cuda.is_available() and dist.is_nccl_available() else "gloo"
    dist.init_process_group(backend, rank=place.rank, world_size=place.world, timeout=PATIENCE)
    _State.host = dist.new_group(backend="gloo", timeout=PATIENCE) if backend == "nccl" else dist.group.WORLD
    _State.place = place


def leave() -> None:
    """Be a process of its own again."""
    if dist.is_available() and dist.is_initialized():
        dist.destroy_process_group()
    _State.place = Place(0, 1, 0)
    _State.host = None


@contextmanager
def joined(place: Optional[Place]) -> Iterator[None]:
    """Work as one of several processes, or alone where `place` is None."""
    if place is None:
        yield
        return
    connect(place)
    try:
        yield
    finally:
        leave()


def rank() -> int:
    """This process's number; the first, 0, logs and saves."""
    return _State.place.rank


def world() -> int:
    """Number of processes."""
    return _State.place.world


def local_rank() -> int:
    """This process's number among those of its machine."""
    return _State.place.local


def cores() -> int:
    """Cores of this machine for each of its processes; 0, which stands for all of them, for a process alone."""
    return 0 if world() == 1 else max((os.cpu_count() or 1) // _State.place.neighbors, 1)


def is_first() -> bool:
    """Whether this process logs and saves."""
    return rank() == 0


def share(total: int, what: str) -> int:
    """This process's part of a number that all share. Raises ValueError where they cannot have equal ones."""
    if total % world():
        raise ValueError(f"{what}={total} cannot be divided among {world()} processes: give a multiple of {world()}")
    return total // world()


def seed(first: int) -> int:
    """A seed of this process's own, `first` itself for the first process."""
    return first + SEED_STEP * rank()


def add_up(tensors: Sequence[Tensor]) -> None:
    """Add the tensors to those of the other processes, in place, with one message for each type."""
    if world() == 1:
        return
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):  # in the same order in all processes
        same = [tensor for tensor in tensors if tensor.dtype == dtype]
        flat = torch.cat([tensor.reshape(-1) for tensor in same])
        dist.all_reduce(flat)
        for tensor, piece in zip(same, flat.split([tensor.numel() for tensor in same])):
            tensor.copy_(piece.view(tensor.shape))


def total(value: Tensor) -> Tensor:
    """Sum of a tensor over all processes; the tensor itself where there is one."""
    if world() == 1:
        return value
    value = value.clone()
    dist.all_reduce(value)
    return value


def mean(value: Tensor) -> Tensor:
    """Mean of a tensor over all processes, which weigh the same."""
    return value if world() == 1 else total(value) / world()


def variance(values: Tensor) -> Tensor:
    """Variance [] of the numbers of all processes, which have equally many, as `Tensor.var` of all in one."""
    if world() == 1:
        return values.var()
    count = values.numel() * world()
    center = total(values.sum()) / count
    return total((values - center).square().sum()) / (count - 1)


def anywhere(mask: Tensor) -> Tensor:
    """Whether a mask [] holds in any process, []."""
    return mask if world() == 1 else total(mask.float()) > 0


def tell_all(value: Any) -> List[Any]:
    """The values that all processes give, by rank. They are pickled: by this run's own processes, for them alone."""
    if world() == 1:
        return [value]
    values: List[Any] = [None] * world()
    dist.all_gather_object(values, value, group=_State.host)
    return values


def tell_first(value: Any) -> List[Any]:
    """The values of all processes, by rank, in the first process; an empty list in the others."""
    if world() == 1:
        return [value]
    values: Optional[List[Any]] = [None] * world() if is_first() else None
    dist.gather_object(value, values, dst=0, group=_State.host)
    return values or []


def from_first(value: Any = None) -> Any:
    """The value that the first process gives; those of the others do not count."""
    if world() == 1:
        return value
    box = [value]
    dist.broadcast_object_list(box, src=0, group=_State.host)
    return box[0]


def is_loss(error: BaseException) -> bool:
    """Whether an error says that another process cannot be reached any more."""
    words = ("gloo", "nccl", "connection", "peer", "timed out", "timeout")
    return world() > 1 and any(word in str(error).lower() for word in words)


def _set_meeting_place() -> None:
    """Give torch.distributed an address where Slurm started the processes: the first machine of the job."""
    env = os.environ
    if "MASTER_ADDR" in env and "MASTER_PORT" in env:
        return
    nodes = env.get("SLURM_STEP_NODELIST", env.get("SLURM_NODELIST", "127.0.0.1"))
    env.setdefault("MASTER_ADDR", first_node(nodes))
    env.setdefault("MASTER_PORT", str(20000 + int(env.get("SLURM_JOB_ID", "0")) % 20000))


def first_node(nodes: str) -> str:
    """The first machine of a list as Slurm writes it: "gpu[03-05,9],cpu1" -> "gpu03"."""
    name, bracket, rest = nodes.partition("[")
    if not bracket or "," in name:
        return name.partition(",")[0]
    first = rest.partition("]")[0].partition(",")[0].partition("-")[0]
    return name + first
