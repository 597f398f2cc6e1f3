"""Steps on their way from a GPU to a replay on the host: nothing waits for a copy that was just begun."""

from contextlib import nullcontext
from typing import ContextManager, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Step

HOST = torch.device("cpu")
Joined = Dict[torch.dtype, Tensor]  # type -> [N, W], tensors [N, ...] of this type side by side


class ToHost:
    """Copies Steps to the host, each in one piece for each type of numbers, while the device goes on.

    A Step arrives when the next one is sent, or when it is asked for: the host waits for a copy at most that was begun
    a step before. Its memory is pinned by torch, which keeps it for the next one. Without a GPU nothing is copied but
    what joins the pieces.
    """

    def __init__(self, device: torch.device):
        self._device = device
        self._on_gpu = device.type == "cuda"
        self._stream = torch.cuda.Stream(device) if self._on_gpu else None
        self._copied = torch.cuda.Event() if self._on_gpu else None
        self._sent: Optional[Tuple[Joined, List[Tensor], Step]] = None

    def exchange(self, action: Tensor, step: Step) -> List[Tuple[Tensor, Step]]:
        """Send actions [E, A, W] and the Step that they led to; returns those sent before, if they are still there."""
        arrived = self.receive()
        parts = [action, *step_parts(step)]
        joined = join(parts)  # new tensors: the environment may overwrite its own
        with self._side_stream():
            copies = {kind: value.to(HOST, non_blocking=True) for kind, value in joined.items()}
            if self._stream is not None and self._copied is not None:
                self._copied.record(self._stream)
                for value in joined.values():
                    value.record_stream(self._stream)
        self._sent = (copies, parts, step)
        return arrived

    def receive(self) -> List[Tuple[Tensor, Step]]:
        """The pair that was sent last, if it was not received yet, on the host and without metrics; waits for it."""
        if self._sent is None:
            return []
        copies, parts, step = self._sent
        self._sent = None
        if self._copied is not None:
            self._copied.synchronize()
        action, *values = separate(copies, parts)
        return [(action, with_parts(step, values))]

    def _side_stream(self) -> "ContextManager[object]":
        """A stream that begins where the present one is: what is launched on that one afterwards waits for no copy."""
        if self._stream is None:
            return nullcontext()
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        return torch.cuda.stream(self._stream)


def join(parts: Sequence[Tensor]) -> Joined:
    """Tensors [N, ...] of each type side by side, as new tensors."""
    flat = [part.flatten(1) if part.dim() > 1 else part[:, None] for part in parts]
    kinds = dict.fromkeys(part.dtype for part in parts)
    return {kind: torch.cat([part for part in flat if part.dtype == kind], 1) for kind in kinds}


def separate(joined: Joined, like: Sequence[Tensor]) -> List[Tensor]:
    """The tensors that were joined, `like` them in order, shape and type."""
    first = dict.fromkeys(joined, 0)
    parts = []
    for part in like:
        begin = first[part.dtype]
        first[part.dtype] += part[0].numel()
        parts.append(joined[part.dtype][:, begin : first[part.dtype]].reshape(part.shape))
    return parts


def step_parts(step: Step) -> List[Tensor]:
    """All tensors of a Step but its metrics."""
    masks = [mask for mask in step.action_mask or () if mask is not None]
    alive = [] if step.alive is None else [step.alive]
    ends = [step.reward, step.terminated, step.truncated]
    return [*step.obs, step.state, *ends, *step.next_obs, step.next_state, *masks, *alive]


def with_parts(step: Step, parts: Sequence[Tensor]) -> Step:
    """A Step like another one, of other tensors in the order of `step_parts`, without metrics."""
    left = iter(parts)
    obs = tuple(next(left) for _ in step.obs)
    state = next(left)
    reward = next(left)
    terminated = next(left)
    truncated = next(left)
    next_obs = tuple(next(left) for _ in step.next_obs)
    next_state = next(left)
    mask = step.action_mask
    if mask is not None:
        mask = tuple(each if each is None else next(left) for each in mask)
    alive = None if step.alive is None else next(left)
    return Step(obs, state, reward, terminated, truncated, next_obs, next_state, {}, mask, alive)
