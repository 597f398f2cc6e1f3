"""Minibatches of a batch, and their division into parts that fit a core's cache."""

from typing import Iterator, List

import torch

from harl_isaac.buffers.rollout import RowIndex

CPU_CHUNK = 2048  # rows at most in a part on the CPU, so that its activations stay in a core's cache


def minibatches(rows: int, count: int, device: torch.device) -> Iterator[RowIndex]:
    """`count` random equal parts of the rows 0..rows-1; a single part is all of them, in order."""
    if count == 1:
        yield slice(0, rows)
        return
    yield from torch.randperm(rows, device=device).view(count, rows // count)


def chunks(index: RowIndex, rows: int, device: torch.device, length: int = 1) -> List[RowIndex]:
    """Divide a minibatch of `rows` rows into parts: equally many for each thread on the CPU, one elsewhere.

    Where a row is a sequence, `length` is its number of steps.
    """
    threads = torch.get_num_threads()
    steps = rows * length
    count = 1
    if device.type == "cpu" and steps > CPU_CHUNK:
        count = threads * -(-steps // (CPU_CHUNK * threads))
    size = -(-rows // count)
    if not isinstance(index, slice):
        return list(index.split(size))
    starts = range(index.start, index.stop, size)
    return [slice(start, min(start + size, index.stop)) for start in starts]
