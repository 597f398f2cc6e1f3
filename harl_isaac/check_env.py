"""`check_env`: tests an environment against the contract of `harl_isaac.env`. Run it on your own before training."""

from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.acting import bounds
from harl_isaac.env import Box, EnvSpec, MultiAgentEnv, Space, Step, mask_width


def check_env(make: Callable[[], MultiAgentEnv], steps: int = 200) -> None:
    """Play `steps` random steps in environments from `make` and check them against the contract.

    Checked: shapes, dtypes, device, finiteness; the flags exclude each other and at least one episode ends;
    observations change only where an episode ended; equal seeds repeat; a saved state continues equally; an
    environment's actions affect no other environment (the last two where its simulator can be saved, repeating where a
    process may hold two of it). Raises ValueError that says what was found and what is expected.
    """
    env = make()
    twin = None if env.spec.exclusive else make()
    generator = torch.Generator().manual_seed(0)
    try:
        step = _check_steps(env, twin, steps, generator)
        _check_continuation(env, twin or env, step, generator)
        _check_independence(env, step, generator)
    finally:
        env.close()
        if twin is not None:
            twin.close()


def _check_steps(env: MultiAgentEnv, twin: Optional[MultiAgentEnv], steps: int, generator: torch.Generator) -> Step:
    """Check a reset and `steps` random steps of `env`, and that `twin` repeats them; returns the last Step."""
    step = env.reset(seed=7)
    twin_step = None if twin is None else twin.reset(seed=7)
    check_step(env.spec, step, "reset")
    _expect(not bool(step.done.any()), "reset: terminated and truncated must be false")
    ended = False
    for t in range(steps):
        where = f"step {t + 1}"
        if twin_step is not None:
            message = "two environments with the same seed and actions differ"
            _expect_equal(_copy(step), _copy(twin_step), where, message)
        actions = random_actions(env.spec, step, generator)
        step = env.step(actions)
        if twin is not None:
            twin_step = twin.step(actions)
        check_step(env.spec, step, where)
        ended = ended or bool(step.done.any())
    _expect(
        ended or steps < env.spec.max_episode_steps,
        f"no episode ended in {steps} steps, though max_episode_steps={env.spec.max_episode_steps}",
    )
    return step


def check_step(spec: EnvSpec, step: Step, where: str) -> None:
    """Check one Step against the spec; `where` begins each message. Raises ValueError."""
    envs = spec.num_envs
    agents = spec.num_agents
    for name, group in (("obs", step.obs), ("next_obs", step.next_obs)):
        _expect(len(group) == agents, f"{where}: {name} has {len(group)} tensors for {agents} agents")
        for i, value in enumerate(group):
            _check(spec, value, f"{where}: {name}[{i}]", (envs, spec.obs_sizes[i]), torch.float32)
    state_shape = (envs, spec.state_agents, spec.state_size)
    _check(spec, step.state, f"{where}: state", state_shape, torch.float32)
    _check(spec, step.next_state, f"{where}: next_state", state_shape, torch.float32)
    _check(spec, step.reward, f"{where}: reward", (envs, spec.reward_agents), torch.float32)
    _check(spec, step.terminated, f"{where}: terminated", (envs,), torch.bool)
    _check(spec, step.truncated, f"{where}: truncated", (envs,), torch.bool)
    _expect(not bool((step.terminated & step.truncated).any()), f"{where}: terminated and truncated are both true")
    _expect(
        set(step.metrics) == set(spec.metrics),
        f"{where}: metrics are {sorted(step.metrics)}, the spec names {sorted(spec.metrics)}",
    )
    for name, value in step.metrics.items():
        _check(spec, value, f"{where}: metrics[{name}]", (envs,), torch.float32)
    _check_masks(spec, step, where)
    _check_successor(step, where)


def random_actions(spec: EnvSpec, step: Step, generator: torch.Generator) -> Tuple[Tensor, ...]:
    """Random allowed actions of every agent, A x [E, action_width_i]; `generator` is on the CPU."""
    actions = []
    for i, space in enumerate(spec.actions):
        if isinstance(space, Box):
            uniform = torch.rand((spec.num_envs, space.size), generator=generator)
            low, high = bounds(space)
            action = low + (high - low) * uniform
        else:
            mask = torch.ones(spec.num_envs, mask_width(space), dtype=torch.bool)
            if step.action_mask is not None:
                mask = step.action_mask[i].cpu()
            heads = [head.float() for head in _split_heads(space, mask)]
            action = torch.cat([torch.multinomial(head, 1, generator=generator) for head in heads], 1)
        actions.append(action.to(spec.device))
    return tuple(actions)


def _split_heads(space: Space, mask: Tensor) -> Tuple[Tensor, ...]:
    """An action mask [E, N] as one mask of each head of choices, [E, n_k]."""
    return mask.split(getattr(space, "nvec", (mask.shape[1],)), 1)


def _check_masks(spec: EnvSpec, step: Step, where: str) -> None:
    masks = step.action_mask
    _expect((masks is not None) == spec.has_action_mask, f"{where}: action_mask does not agree with the spec")
    _expect((step.alive is not None) == spec.has_alive, f"{where}: alive does not agree with the spec")
    if masks is not None:
        _expect(
            len(masks) == spec.num_agents, f"{where}: action_mask has {len(masks)} tensors for {spec.num_agents} agents"
        )
    for i, (space, mask) in enumerate(zip(spec.actions, masks or ())):
        if not mask_width(space):
            continue
        _check(spec, mask, f"{where}: action_mask[{i}]", (spec.num_envs, mask_width(space)), torch.bool)
        for head in _split_heads(space, mask):
            _expect(bool(head.any(1).all()), f"{where}: action_mask[{i}] allows no choice somewhere")
    if spec.has_alive:
        _check(spec, step.alive, f"{where}: alive", (spec.num_envs, spec.num_agents), torch.bool)


def _check_successor(step: Step, where: str) -> None:
    """Check that observations and state are their successors, except where an episode ended."""
    running = ~step.done
    pairs = [("state", step.state, step.next_state)]
    pairs += [(f"obs[{i}]", obs, next_obs) for i, (obs, next_obs) in enumerate(zip(step.obs, step.next_obs))]
    for name, value, successor in pairs:
        _expect(
            torch.equal(value[running], successor[running]),
            f"{where}: {name} differs from its successor where no episode ended",
        )


def _check_continuation(env: MultiAgentEnv, other: MultiAgentEnv, step: Step, generator: torch.Generator) -> None:
    """Check that `other`, with the state of `env`, continues equally, or begins new episodes if it returns a Step."""
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
    actions = random_actions(env.spec, step, generator)
    _expect_equal(
        _copy(env.step(actions)),
        _copy(other.step(actions)),
        "state_dict",
        "an environment that loaded another's state goes on differently",
    )


def _check_independence(env: MultiAgentEnv, step: Step, generator: torch.Generator) -> None:
    """Check that other actions in environment 0 change no other environment."""
    if env.spec.num_envs < 2:
        return
    saved = env.state_dict()
    actions = random_actions(env.spec, step, generator)
    changed = random_actions(env.spec, step, generator)
    before = _copy(env.step(actions))
    if env.load_state_dict(saved) is not None:  # the simulator cannot return to the step before
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
    """Check that `value` is a finite tensor of this shape and dtype on the environment's device."""
    _expect(isinstance(value, Tensor), f"{name} is a {type(value).__name__}, expected a tensor")
    _expect(tuple(value.shape) == shape, f"{name} has shape {tuple(value.shape)}, expected {shape}")
    _expect(value.dtype == dtype, f"{name} is {value.dtype}, expected {dtype}")
    _expect(value.device == spec.device, f"{name} is on {value.device}, expected {spec.device}")
    _expect(bool(torch.isfinite(value).all()), f"{name} is not finite")


def _copy(step: Step) -> List[Tensor]:
    """Copies of all tensors of a Step, in a fixed order."""
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
