"""`check_env`: does an environment keep the contract of `harl_isaac.env`? Run your own through it before training."""

from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, MultiAgentEnv, Step, mask_width


def check_env(make: Callable[[], MultiAgentEnv], steps: int = 200) -> None:
    """Play `steps` random steps in environments from `make` and hold them to the contract.

    Checked: shapes, dtypes, device, finiteness; the flags exclude each other and at least one episode ends; observations
    change only where an episode ended; equal seeds repeat; a saved state continues equally; an environment's actions
    touch no other environment (the last two where its simulator can be saved, repeating where a process may hold two of it).
    Raises ValueError that says what was found and what is expected.
    """
    first = make()
    second = None if first.spec.exclusive else make()
    draw = torch.Generator().manual_seed(0)
    try:
        step = first.reset(seed=7)
        twin = second and second.reset(seed=7)
        check_step(first.spec, step, "reset")
        _expect(not bool(step.done.any()), "reset: terminated and truncated must be false")
        ended = False
        for t in range(steps):
            where = f"step {t + 1}"
            if second is not None:
                _expect_equal(_copy(step), _copy(twin), where, "two environments with the same seed and actions differ")
            actions = random_actions(first.spec, step, draw)
            step = first.step(actions)
            twin = second and second.step(actions)
            check_step(first.spec, step, where)
            ended = ended or bool(step.done.any())
        _expect(
            ended or steps < first.spec.max_episode_steps,
            f"no episode ended in {steps} steps, though max_episode_steps={first.spec.max_episode_steps}",
        )
        _check_continuation(first, second or first, step, draw)
        _check_independence(first, step, draw)
    finally:
        first.close()
        if second is not None:
            second.close()


def check_step(spec: EnvSpec, step: Step, where: str) -> None:
    """Hold one Step to the spec. Raises ValueError."""
    envs = spec.num_envs
    agents = spec.num_agents
    for name, group in (("obs", step.obs), ("next_obs", step.next_obs)):
        _expect(len(group) == agents, f"{where}: {name} has {len(group)} tensors for {agents} agents")
        for i, value in enumerate(group):
            _check(spec, value, f"{where}: {name}[{i}]", (envs, spec.obs_sizes[i]), torch.float32)
    for name in ("state", "next_state"):
        shape = (envs, spec.state_agents, spec.state_size)
        _check(spec, getattr(step, name), f"{where}: {name}", shape, torch.float32)
    _check(spec, step.reward, where + ": reward", (envs, spec.reward_agents), torch.float32)
    for name in ("terminated", "truncated"):
        _check(spec, getattr(step, name), f"{where}: {name}", (envs,), torch.bool)
    _expect(not bool((step.terminated & step.truncated).any()), where + ": terminated and truncated are both true")
    _expect(
        set(step.metrics) == set(spec.metrics),
        f"{where}: metrics are {sorted(step.metrics)}, the spec names {sorted(spec.metrics)}",
    )
    for name, value in step.metrics.items():
        _check(spec, value, f"{where}: metrics[{name}]", (envs,), torch.float32)
    _check_masks(spec, step, where)
    _check_successor(step, where)


def random_actions(spec: EnvSpec, step: Step, draw: torch.Generator) -> Tuple[Tensor, ...]:
    """Allowed actions for every agent, A x [E, action_width_i]."""
    actions = []
    for i, space in enumerate(spec.actions):
        if isinstance(space, Box):
            uniform = torch.rand((spec.num_envs, space.size), generator=draw)
            action = space.low + (space.high - space.low) * uniform
        else:
            mask = (
                step.action_mask[i].cpu()
                if step.action_mask is not None
                else torch.ones(spec.num_envs, mask_width(space), dtype=torch.bool)
            )
            heads = mask.split(getattr(space, "nvec", (mask.shape[1],)), 1)
            action = torch.cat([torch.multinomial(head.float(), 1, generator=draw) for head in heads], 1)
        actions.append(action.to(spec.device))
    return tuple(actions)


def _check_masks(spec: EnvSpec, step: Step, where: str) -> None:
    _expect(
        (step.action_mask is not None) == spec.has_action_mask, where + ": action_mask does not agree with the spec"
    )
    _expect((step.alive is not None) == spec.has_alive, where + ": alive does not agree with the spec")
    for i, space in enumerate(spec.actions if spec.has_action_mask else ()):
        if not mask_width(space):
            continue
        mask = step.action_mask[i]
        _check(spec, mask, f"{where}: action_mask[{i}]", (spec.num_envs, mask_width(space)), torch.bool)
        for head in mask.split(getattr(space, "nvec", (mask.shape[1],)), 1):
            _expect(bool(head.any(1).all()), f"{where}: action_mask[{i}] allows no choice somewhere")
    if spec.has_alive:
        _check(spec, step.alive, where + ": alive", (spec.num_envs, spec.num_agents), torch.bool)


def _check_successor(step: Step, where: str) -> None:
    """The state to act on is the successor, except where an episode ended."""
    going_on = ~step.done
    pairs = [("state", step.state, step.next_state)]
    pairs += [(f"obs[{i}]", now, after) for i, (now, after) in enumerate(zip(step.obs, step.next_obs))]
    for name, now, after in pairs:
        _expect(
            torch.equal(now[going_on], after[going_on]),
            f"{where}: {name} differs from its successor where no episode ended",
        )


def _check_continuation(env: MultiAgentEnv, other: MultiAgentEnv, step: Step, draw: torch.Generator) -> None:
    other.reset(seed=8)
    begun = other.load_state_dict(env.state_dict())
    if begun is not None:
        check_step(env.spec, begun, "load_state_dict")
        _expect(
            not bool(begun.done.any()), "load_state_dict: new episodes must begin with terminated and truncated false"
        )
        return
    if other is env:
        return
    actions = random_actions(env.spec, step, draw)
    _expect_equal(
        _copy(env.step(actions)),
        _copy(other.step(actions)),
        "state_dict",
        "an environment that loaded another's state goes on differently",
    )


def _check_independence(env: MultiAgentEnv, step: Step, draw: torch.Generator) -> None:
    """Environment 0 acts otherwise: nobody else may notice."""
    if env.spec.num_envs < 2:
        return
    saved = env.state_dict()
    actions = random_actions(env.spec, step, draw)
    changed = random_actions(env.spec, step, draw)
    before = _copy(env.step(actions))
    if env.load_state_dict(saved) is not None:  # cannot be taken back to try again
        return
    mixed = tuple(torch.cat((new[:1], old[1:])) for new, old in zip(changed, actions))
    after = _copy(env.step(mixed))
    _expect_equal(
        [value[1:] for value in before],
        [value[1:] for value in after],
        "independence",
        "an action of environment 0 changed another environment",
    )


def _check(spec: EnvSpec, value: Any, name: str, shape: Tuple[int, ...], dtype: torch.dtype) -> None:
    _expect(isinstance(value, Tensor), f"{name} is a {type(value).__name__}, expected a tensor")
    _expect(tuple(value.shape) == shape, f"{name} has shape {tuple(value.shape)}, expected {shape}")
    _expect(value.dtype == dtype, f"{name} is {value.dtype}, expected {dtype}")
    _expect(value.device == spec.device, f"{name} is on {value.device}, expected {spec.device}")
    _expect(bool(torch.isfinite(value).all()), f"{name} is not finite")


def _copy(step: Step) -> List[Tensor]:
    optional: List[Optional[Tensor]] = [step.alive, *(step.action_mask or ())]
    values = [
        *step.obs,
        *step.next_obs,
        step.state,
        step.next_state,
        step.reward,
        step.terminated,
        step.truncated,
        *step.metrics.values(),
        *[value for value in optional if value is not None],
    ]
    return [value.clone() for value in values]


def _expect_equal(one: List[Tensor], other: List[Tensor], where: str, message: str) -> None:
    _expect(all(torch.equal(a, b) for a, b in zip(one, other)), f"{where}: {message}")


def _expect(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
