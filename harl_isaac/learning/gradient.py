"""Minibatches and the gradient step that actors and critics share."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import Any, Callable, Iterator, List, Tuple

import torch
from torch import Tensor

CPU_CHUNK = 2048  # rows at most in a part on the CPU, so that its activations stay in a core's cache

# part of a minibatch -> (its share of the loss [], sums to report [M])
LossOf = Callable[..., Tuple[Tensor, Tensor]]


def adam(parameters, lr: float, eps: float) -> torch.optim.Adam:
    """Adam in one kernel where this torch has it for the parameters' device (it then reads nothing on the host)."""
    parameters = list(parameters)
    try:
        return torch.optim.Adam(parameters, lr=lr, eps=eps, fused=True)
    except RuntimeError:  # torch < 2.4 on the CPU
        return torch.optim.Adam(parameters, lr=lr, eps=eps)


@contextmanager
def rollback_unless(wanted: Tensor, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """What is done inside to the parameters and to the optimizer's memory stays only if `wanted` [] is true."""
    before = {id(tensor): tensor.clone() for tensor in _tensors(optimizer)}
    yield
    with torch.no_grad():
        for tensor in _tensors(optimizer):
            old = before.get(id(tensor))  # None: made inside, from zeros
            tensor.copy_(torch.where(wanted, tensor, torch.zeros_like(tensor) if old is None else old))


def _tensors(optimizer: torch.optim.Optimizer) -> List[Tensor]:
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    states = [value for p in parameters for value in optimizer.state.get(p, {}).values()]
    return parameters + [value for value in states if isinstance(value, Tensor)]


def minibatches(rows: int, count: int, device: torch.device) -> Iterator:
    """`count` random equal parts of the rows 0..rows-1; a single part is all of them, in order."""
    if count == 1:
        yield slice(0, rows)
        return
    yield from torch.randperm(rows, device=device).view(count, rows // count)


def chunks(index, rows: int, device: torch.device, length: int = 1) -> List:
    """A minibatch (slice or index) of `rows` rows in pieces: as many for each thread on the CPU, one elsewhere.

    Where a row is a sequence, `length` is its number of steps.
    """
    threads = torch.get_num_threads()
    steps = rows * length
    count = threads * -(-steps // (CPU_CHUNK * threads)) if device.type == "cpu" and steps > CPU_CHUNK else 1
    size = -(-rows // count)
    if not isinstance(index, slice):
        return list(index.split(size))
    return [slice(start, min(start + size, index.stop)) for start in range(index.start, index.stop, size)]


def gradient_step(
    optimizer: torch.optim.Optimizer, loss_of: LossOf, parts: List, max_norm: float
) -> Tuple[Tensor, Tensor]:
    """One step on the sum of the parts' losses; returns the parts' summed reports [M] and the gradient's norm []."""
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    gradients, sums = summed_gradients(parameters, loss_of, parts)
    for parameter, gradient in zip(parameters, gradients):
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
        parameter.grad.copy_(gradient)
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    return sums, norm


def summed_gradients(parameters: List[Tensor], loss_of: LossOf, parts: List) -> Tuple[List[Tensor], Tensor]:
    """Gradients and reports [M] summed over the parts."""

    def work(part):
        loss, sums = loss_of(part)
        return [*torch.autograd.grad(loss, parameters), sums]

    total = summed(work, parts)
    return total[:-1], total[-1]


def summed(work: Callable[..., List[Tensor]], parts: List) -> List[Tensor]:
    """The fresh tensors that `work(part)` returns, each summed over the parts, always in the same order."""

    def sum_of(own: List) -> List[Tensor]:
        total = work(own[0])
        for part in own[1:]:
            torch._foreach_add_(total, work(part))
        return total

    total, *others = over_threads(sum_of, parts)
    for more in others:
        torch._foreach_add_(total, more)
    return total


def over_threads(work: Callable[[List], Any], parts: List) -> List:
    """What `work(its share of the parts)` returns for each thread, in the threads' order.

    On the CPU each thread works through parts of its own: faster than sharing every small product among threads.
    """
    threads = torch.get_num_threads()
    if len(parts) == 1 or threads == 1:
        return [work(parts)]

    def worker(k: int):
        torch.set_num_threads(1)  # of this worker
        return work(parts[k::threads])

    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(worker, range(min(threads, len(parts)))))
    finally:
        torch.set_num_threads(threads)
