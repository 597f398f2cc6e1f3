"""A mode that refuses every operation that hands a tensor's content to the host."""

from contextlib import contextmanager

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

# On a GPU each of these makes the host wait: reading a number, sizes that depend on content, copies to another device.
HOST_READS = ("_local_scalar_dense", "nonzero", "masked_select", "unique", "is_nonzero", "equal", "item", "tolist")


# There Adam reads its step counters, which lie on the host on a GPU too, but not in these tests.
needs_silent_adam = pytest.mark.skipif(torch.__version__ < "2.1", reason="Adam of torch 2.0 reads its step counters")


class NoHostReads(TorchDispatchMode):
    """Raises where an operation reads a tensor on the host."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.overloadpacket.__name__
        if name in HOST_READS or (
            name == "index" and any(index is not None and index.dtype == torch.bool for index in args[1])
        ):
            raise AssertionError(f"host read: {func}")
        return func(*args, **(kwargs or {}))


@contextmanager
def no_waiting(device):
    """Raise where the host reads what lies on a device: on the CPU by the mode, on a GPU by torch's own debug mode."""
    if device == "cpu":
        with NoHostReads():
            yield
        return
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")
