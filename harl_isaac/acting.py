"""Acting in an environment: the loop that collects experience, and actions in the environment's units."""

from functools import lru_cache
from typing import Callable, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, MultiAgentEnv, Step, action_width
from harl_isaac.faults import StepShapes
from harl_isaac.runtime import one_thread

FEW_ROWS = 256  # environments x agents up to which acting is left to one thread of the CPU


def pack_agents(out: Tensor, values: Sequence[Tensor]) -> None:
    """Write the agents' tensors A x [E, W_i] into the padded `out` [E, A, W], unchanged beyond their widths."""
    for i, value in enumerate(values):
        out[:, i, : value.shape[1]] = value


@torch.no_grad()
def interact(
    env: MultiAgentEnv,
    step: Step,
    length: int,
    act: Callable[[int, Step], Tensor],
    store: Callable[[int, Tensor, Step], None],
    observer: Optional[Callable[[Step], None]] = None,
) -> Step:
    """Step the environment `length` times from `step` on; returns the last Step.

    `act(t, step)` chooses padded actions [E, A, W]; `store(t, action, next_step)` keeps what they led to; `observer` is
    shown every new Step (the episode statistics). Raises EnvironmentFault for a Step of other shapes than the spec's.
    """
    spec = env.spec
    check = StepShapes(spec)
    with one_thread(spec.device, spec.num_envs * spec.num_agents <= FEW_ROWS):
        for t in range(length):
            action = act(t, step)
            step = env.step(to_env(spec, action))
            check(step)
            store(t, action, step)
            if observer is not None:
                observer(step)
    return step


def to_env(spec: EnvSpec, action: Tensor) -> Tuple[Tensor, ...]:
    """Padded actions of the policies [E, A, W] in each agent's own units, bounds and type: A x [E, W_i]."""
    if any(isinstance(space, Box) for space in spec.actions):
        bounded = action.clamp(-1.0, 1.0)
    actions = []
    for i, space in enumerate(spec.actions):
        if isinstance(space, Box):
            actions.append(_scale_to_bounds(space, bounded[:, i, : space.size]))
        else:
            actions.append(action[:, i, : action_width(space)].long())
    return tuple(actions)


def _scale_to_bounds(space: Box, action: Tensor) -> Tensor:
    """Map [-1, 1] to the bounds of the space."""
    half, middle = _scale(space, action.device)
    if isinstance(half, float) and half == 1.0 and middle == 0.0:
        return action
    return action * half + middle


@lru_cache(maxsize=None)
def _scale(space: Box, device: torch.device) -> Tuple[Union[float, Tensor], Union[float, Tensor]]:
    """Half the range and the middle of the bounds: numbers, or [size] where dimensions differ."""
    if isinstance(space.low, tuple) or isinstance(space.high, tuple):
        low, high = bounds(space, device)
        return (high - low) / 2, (high + low) / 2
    return (space.high - space.low) / 2, (space.high + space.low) / 2


def within_bounds(space: Box, action: Tensor) -> Tensor:
    """Actions [..., size], none of them beyond the bounds of the space."""
    if isinstance(space.low, tuple) or isinstance(space.high, tuple):
        return action.clamp(*bounds(space, action.device))
    return action.clamp(space.low, space.high)


@lru_cache(maxsize=None)
def bounds(space: Box, device: Optional[torch.device] = None) -> Tuple[Tensor, Tensor]:
    """The lowest and the highest action of a Box, [size] each."""
    ones = torch.ones(space.size, device=device)
    low = torch.tensor(space.low, device=device) * ones
    return low, torch.tensor(space.high, device=device) * ones
