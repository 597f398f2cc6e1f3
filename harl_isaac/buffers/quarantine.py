"""Keeps numbers that are not finite out of what is learned from: an environment's NaN or infinity, and what follows.

Once for each collection, over all that it stored: for each step, even one operation would be noticed in small games. On
the CPU the sums of what was stored say at once that nothing is wrong. On another device that would be a wait, and the
rows are looked at one by one.
"""

from typing import Iterable

import torch
from torch import Tensor

from harl_isaac.buffers.replay import Replay
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Step
from harl_isaac.faults import by_environment, not_finite
from harl_isaac.runtime import any_without_sync

CHUNK = 2**24  # numbers of a replay that are looked at at a time: copies of them take memory


def quarantine_rollout(rollout: Rollout, last: Step) -> None:
    """Take rows that an environment has spoiled out of a rollout: nobody acted there, an episode ended, zeros for NaN.

    `last` is the Step after it. The rollout's `faults` note them. Rows that the policies spoiled stay as they are:
    metrics will say so.
    """
    after_values = [rollout.next_state, rollout.reward]
    if rollout.next_obs is not None:
        after_values.append(rollout.next_obs)
    if not any_without_sync(suspicious([rollout.obs, rollout.state, *after_values, *last.obs, last.state])):
        return
    last_obs = torch.stack([not_finite(value) for value in last.obs], 1)  # [E, A]
    obs = ~torch.isfinite(rollout.obs).all(-1)  # [T, E, A]
    before = obs.any(-1) | spoiled(rollout.state)
    action = spoiled(rollout.action) | spoiled(rollout.log_prob)
    after = torch.stack([spoiled(value) for value in after_values]).any(0)
    after[-1] |= last_obs.any(1) | not_finite(last.state)
    own = by_environment(before, action, after)  # [E]
    rows = (before | action | after) & own
    if rollout.next_obs is not None:
        obs |= ~torch.isfinite(rollout.next_obs).all(-1)
    obs[-1] |= last_obs
    state = spoiled(rollout.state) | spoiled(rollout.next_state)
    state[-1] |= not_finite(last.state)
    found = torch.cat((obs, state[..., None], spoiled(rollout.reward)[..., None]), -1)  # [T, E, A + 2]
    rollout.faults.add(found.any(0) & own[:, None])
    for value in (rollout.obs, rollout.state, rollout.action, rollout.log_prob, *after_values, rollout.start_hidden):
        clean(value, own)
    clean(rollout.hidden[None], own)
    rollout.alive.masked_fill_(rows[..., None], 0.0)
    rollout.terminated |= rows[..., None]
    rollout.truncated &= ~rows[..., None]


def quarantine_replay(replay: Replay, length: int) -> None:
    """Take spoiled transitions of the last `length` steps out of a replay: ended, without reward, zeros for NaN.

    The replay's `faults` note them.
    """
    length = min(length, replay.capacity)
    if length == 0:
        return
    few = max(CHUNK // ((length + 1) * replay.observations.shape[1]), 1)
    for first in range(0, replay.envs, few):
        quarantine_environments(replay, length, first, min(first + few, replay.envs))


def quarantine_environments(replay: Replay, length: int, first: int, end: int) -> None:
    """Do so for the environments from `first` to `end`: E of them, T = `length` steps."""
    ages = torch.arange(length, -1, -1, device=replay.device)
    ring = torch.arange(first, end, device=replay.device) * replay.rows
    places = ring + ((replay.cursor - ages) % replay.rows)[:, None]  # [T + 1, E]; the last are the newest observations
    seen = replay.observations[places]  # [T + 1, E, V]
    transitions = replay.transitions[places[:-1]]  # [T, E, .]; the last column is no number
    numbers = transitions[..., :-1]
    outcome = replay.outcome[places[:-1]][..., 0].long()
    truncated = outcome > 0
    unused = replay.ring + replay.successor_capacity
    behind = torch.where(truncated, replay.successor_row(outcome), torch.full_like(outcome, unused))
    successors = replay.observations[behind]  # [T, E, V]
    if not any_without_sync(suspicious([seen, numbers[..., replay.joint_width :], successors])):
        return
    following = torch.where(truncated[..., None], successors, seen[1:])
    reward = spoiled(numbers[..., replay.joint_width :])
    before = spoiled(seen[:-1])
    action = spoiled(numbers[..., : replay.joint_width])
    after = spoiled(following) | reward
    after[-1] |= spoiled(seen[-1:])[0]
    own = by_environment(before, action, after)
    widths = [*replay.obs_sizes, seen.shape[-1] - sum(replay.obs_sizes)]
    groups = zip(seen.split(widths, -1), following.split(widths, -1))
    found = [spoiled(now).any(0) | spoiled(then).any(0) for now, then in groups]
    replay.faults.add(torch.stack([*found, reward.any(0)], -1) & own[:, None], first)
    replay.observations[places] = cleaned(seen, own)
    replay.observations[behind] = cleaned(successors, own)
    replay.observations[-1].zero_()  # the row of what need not be kept
    replay.transitions[places[:-1], :-1] = cleaned(numbers, own)
    replay.end_rows(places[:-1], (before | action | after) & own)


def suspicious(values: Iterable[Tensor]) -> Tensor:
    """Whether some number may not be finite, []: sums are infinite too where finite numbers are very large."""
    return ~torch.isfinite(torch.stack([value.sum(dtype=torch.float32) for value in values])).all()


def spoiled(value: Tensor) -> Tensor:
    """Rows of [T, E, ...] in which not all numbers are finite, [T, E] bool."""
    return ~torch.isfinite(value.flatten(2)).all(-1) if value.dim() > 2 else ~torch.isfinite(value)


def clean(value: Tensor, own: Tensor) -> None:
    """Write zeros for what is not finite of the environments `own` [E] into a value [T, E, ...]."""
    value.masked_fill_(~torch.isfinite(value) & over_environments(own, value), 0.0)


def cleaned(value: Tensor, own: Tensor) -> Tensor:
    """The value [T, E, ...] with zeros for what is not finite of the environments `own` [E]."""
    return value.masked_fill(~torch.isfinite(value) & over_environments(own, value), 0.0)


def over_environments(own: Tensor, value: Tensor) -> Tensor:
    """A mask of environments [E] in a form that spreads over a value [T, E, ...]."""
    return own.view(1, -1, *[1] * (value.dim() - 2))
