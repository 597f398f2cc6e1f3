"""Faults of an environment: Steps that do not have the spec's shapes, numbers that are not finite.

Shapes are compared at every Step, on the host. Numbers are checked where they lie, without a read for each step: where
they are stored (buffers/), or by a `FiniteWatch`.
"""

from typing import Any, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvironmentFault, EnvSpec, Step, mask_width

Signature = List[Any]
SHOWN = 3  # faults that a message lists


class StepShapes:
    """Checks Steps against a spec. A Step whose shapes and types are those of the one before needs no second look."""

    def __init__(self, spec: EnvSpec):
        self.spec = spec
        self.checked: Signature = []  # of the last Step that was looked at

    def __call__(self, step: Step) -> None:
        """Raise EnvironmentFault, with agent, expected and found, for a Step that its spec excludes."""
        found = signature(step)
        if not found or found != self.checked:
            check_shapes(self.spec, step)
            self.checked = found


def signature(step: Step) -> Signature:
    """Shapes and types of all parts of a Step, but of its metrics the names alone; empty where a part is no tensor."""
    masks = [mask for mask in step.action_mask or () if mask is not None]
    parts = [*step.obs, *step.next_obs, *masks, step.state, step.next_state, step.reward]
    parts += [step.terminated, step.truncated]
    if step.alive is not None:
        parts.append(step.alive)
    try:
        shapes: Signature = [value.shape for value in parts]
        types = [value.dtype for value in parts]
    except AttributeError:
        return []
    return [*shapes, *types, len(step.obs), len(masks), step.action_mask is None, step.alive is None, *step.metrics]


def check_shapes(spec: EnvSpec, step: Step) -> None:
    """Raise EnvironmentFault for the first part of a Step whose shape, type or device its spec excludes."""
    envs = spec.num_envs
    for name, group in (("observation", step.obs), ("last observation", step.next_obs)):
        _check_count(name, group, spec)
        for agent, size, value in zip(spec.agents, spec.obs_sizes, group):
            _check_part(spec, f"agent {agent}: {name}", value, (envs, size))
    for name, state in (("state", step.state), ("last state", step.next_state)):
        _check_part(spec, name, state, (envs, spec.state_agents, spec.state_size))
    _check_part(spec, "reward", step.reward, (envs, spec.reward_agents))
    _check_part(spec, "terminated", step.terminated, (envs,), torch.bool)
    _check_part(spec, "truncated", step.truncated, (envs,), torch.bool)
    _check_masks(spec, step)
    for metric in spec.metrics:
        if metric not in step.metrics:
            raise EnvironmentFault(f"metric {metric} is missing, expected {', '.join(spec.metrics)}")
        _check_part(spec, f"metric {metric}", step.metrics[metric], (envs,))


def _check_masks(spec: EnvSpec, step: Step) -> None:
    for name, declared, found in (
        ("action_mask", spec.has_action_mask, step.action_mask),
        ("alive", spec.has_alive, step.alive),
    ):
        if declared != (found is not None):
            has = "has none" if found is None else "has one"
            raise EnvironmentFault(f"{name}: the spec says has_{name}={declared}, this Step {has}")
    if step.action_mask is not None:
        _check_count("action_mask", step.action_mask, spec)
        for agent, space, mask in zip(spec.agents, spec.actions, step.action_mask):
            if mask_width(space):
                _check_part(spec, f"agent {agent}: action_mask", mask, (spec.num_envs, mask_width(space)), torch.bool)
    if step.alive is not None:
        _check_part(spec, "alive", step.alive, (spec.num_envs, spec.num_agents), torch.bool)


def _check_count(name: str, group: Sequence[Tensor], spec: EnvSpec) -> None:
    if len(group) != spec.num_agents:
        raise EnvironmentFault(f"{name}: expected one for each of {spec.num_agents} agents, got {len(group)}")


def _check_part(
    spec: EnvSpec, name: str, value: Any, shape: Tuple[int, ...], dtype: Optional[torch.dtype] = None
) -> None:
    """Check one tensor; without a `dtype` any real numbers will do."""
    if not isinstance(value, Tensor):
        raise EnvironmentFault(f"{name}: expected a tensor of shape {shape}, got a {type(value).__name__}")
    if tuple(value.shape) != shape:
        raise EnvironmentFault(f"{name}: expected shape {shape}, got {tuple(value.shape)}")
    if value.is_complex() or (dtype is not None and value.dtype != dtype):
        raise EnvironmentFault(f"{name}: expected {dtype or 'real numbers'}, got {value.dtype}")
    if value.device.type != spec.device.type:
        raise EnvironmentFault(f"{name}: expected a tensor on {spec.device}, got one on {value.device}")


class Faults:
    """Which numbers of which environments were not finite since the last `clear`, on the device until `describe`."""

    def __init__(self, spec: EnvSpec, dtype: torch.dtype = torch.float32):
        self.names = [f"agent {agent}: observation" for agent in spec.agents] + ["state", "reward"]
        self.dtype = dtype  # in which they were stored
        self.found = torch.zeros(spec.num_envs, len(self.names), dtype=torch.bool, device=spec.device)  # [E, A + 2]

    def add(self, found: Tensor, first: int = 0) -> None:
        """Note faults [N, A + 2] of the environments from `first` on: in observations of each agent, state, reward."""
        self.found[first : first + len(found)] |= found.to(self.found.device)

    def any(self) -> Tensor:
        """Whether there are any, []."""
        return self.found.any()

    def clear(self) -> None:
        """Forget them."""
        self.found.zero_()

    def describe(self) -> str:
        """Name environments and numbers, the first few; waits for the device."""
        listed = [
            f"environment {e}, {name}"
            for e, row in enumerate(self.found.to("cpu"))
            if bool(row.any())
            for name, bad in zip(self.names, row)
            if bool(bad)
        ]
        more = f" and {len(listed) - SHOWN} more" if len(listed) > SHOWN else ""
        kinds = "NaN or infinite"
        if self.dtype == torch.float16:
            kinds += f", or beyond the {torch.finfo(self.dtype).max:.0f} that algo.replay_dtype=float16 can hold"
        return f"not finite ({kinds}): {'; '.join(listed[:SHOWN])}{more}"


class FiniteWatch:
    """Notes the faults of every Step that it is shown; for loops that store nothing."""

    def __init__(self, spec: EnvSpec):
        self.faults = Faults(spec)

    def __call__(self, step: Step) -> None:
        """Note which numbers of a Step are not finite."""
        obs = [not_finite(now) | not_finite(last) for now, last in zip(step.obs, step.next_obs)]
        state = not_finite(step.state) | not_finite(step.next_state)
        self.faults.add(torch.stack([*obs, state, not_finite(step.reward)], 1))

    def check(self) -> None:
        """Raise EnvironmentFault if there was any; waits for the device."""
        if bool(self.faults.any()):
            text = self.faults.describe()
            self.faults.clear()
            raise EnvironmentFault(text)


def check_begun(spec: EnvSpec, step: Step) -> None:
    """Check the Step that episodes begin with. Raises EnvironmentFault; waits for the device."""
    check_shapes(spec, step)
    watch = FiniteWatch(spec)
    watch(step)
    watch.check()


def not_finite(value: Tensor) -> Tensor:
    """Environments in which not all numbers of [E, ...] are finite, [E] bool."""
    return ~torch.isfinite(value.flatten(1)).all(1)


def by_environment(before: Tensor, action: Tensor, after: Tensor) -> Tensor:
    """Environments whose own numbers were the first that are not finite, [E] bool.

    Each argument is [T, E] bool, in the order of time: what was observed at a step, the action that it led to, what
    came of it. Where an action is the first, the policy is at fault, and the environment only answers it.
    """
    events = torch.stack((before, action, after), 1)  # [T, 3, E]
    flat = events.flatten(0, 1)
    first = (flat & (flat.cumsum(0) == 1)).view_as(events)
    return flat.any(0) & ~first[:, 1].any(0)
