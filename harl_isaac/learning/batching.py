"""Minibatches of a batch, and their division into parts that fit a core's cache."""

from typing import Iterator, List

import torch

from harl_isaac.buffers.rollout import RowIndex

CPU_CHUNK = 2048 * 256  # activations of the widest layer at most in a part on the CPU, so that they stay in its cache


def minibatches(rows: int, count: int, device: torch.device) -> Iterator[RowIndex]:
    """`count` random equal parts of the rows 0..rows-1; a single part is all of them, in order."""
    if count == 1:
        yield slice(0, rows)
        return
    yield from torch.randperm(rows, device=device).view(count, rows // count)


def chunk_rows(width: int) -> int:
    """Rows at most in a part on the CPU for networks whose widest hidden layer is `width`."""
    return max(CPU_CHUNK // width, 1)


def chunks(index: RowIndex, rows: int, device: torch.device, width: int, length: int = 1) -> List[RowIndex]:
    """Divide a minibatch of `rows` rows into parts: equally many for each thread on the CPU, one elsewhere.

    `width` is that of the network's widest hidden layer. Where a row is a sequence, `length` is its number of steps.
    """
    threads = torch.get_num_threads()
    steps = rows * length
    count = 1
    limit = chunk_rows(width)
    if device.type == "cpu" and steps > limit:
        count = threads * -(-steps // (limit * threads))
    size = -(-rows // count)
    if not isinstance(index, slice):
        return list(index.split(size))
    starts = range(index.start, index.stop, size)
    return [slice(start, min(start + size, index.stop)) for start in starts]
