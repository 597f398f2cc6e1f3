"""CUDA graphs of the physics: what a device and its driver can do, and what is done where they cannot."""

from typing import NamedTuple

import warp as wp

FEW_ITERATIONS = 20  # of a solver that cannot stop early: nine are needed by random play of two hands with an egg


class GraphUse(NamedTuple):
    """A way to launch kernels on a device."""

    graphs: bool  # captured once and replayed
    conditional: bool  # a graph's loops end when their work is done, instead of after all their iterations
    note: str  # for the user, where that costs speed; ""


def choose_graphs(device: "wp.Device") -> GraphUse:
    """The best that a device and its driver can do. On the CPU kernels run one after another."""
    if not device.is_cuda:
        return GraphUse(False, False, "")
    if not wp.is_mempool_enabled(device):  # which a capture allocates from
        return GraphUse(
            False,
            False,
            "the physics is launched kernel by kernel, which is slow: this GPU has no memory pool",
        )
    if not wp.is_conditional_graph_supported():
        return GraphUse(
            True,
            False,
            f"the CUDA driver is older than 12.4: the physics' solver takes {FEW_ITERATIONS} iterations always, which "
            "is slower than to stop when it is done",
        )
    return GraphUse(True, True, "")
