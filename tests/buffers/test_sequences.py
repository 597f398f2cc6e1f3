"""Sequences of a replay: steps in their order, episodes' starts in them, true successors."""

import pytest
import torch

from harl_isaac.buffers.replay import explore
from harl_isaac.buffers.sequences import SequenceReplay
from harl_isaac.tasks.games.counting import CountingGame

CPU = torch.device("cpu")
ENVS = 5
LENGTH = 4
BURN_IN = 3


def counted(steps, capacity=ENVS * 20, placement="auto"):
    """A replay of the counting game, whose state says environment, episode and step; and the state at each step."""
    env = CountingGame(ENVS, CPU)
    replay = SequenceReplay(env.spec, capacity, placement=placement)
    seen = []

    def act(step):
        seen.append(step.state[:, 0].clone())
        return torch.rand(ENVS, 2, 2)

    explore(env, act, replay, env.reset(0), steps)
    return replay, seen


def every_sequence(replay, burn_in=BURN_IN):
    """All sequences that are stored."""
    count = replay.filled - LENGTH + 1
    age = torch.arange(count).repeat_interleave(ENVS)
    return replay.sequences(age, torch.arange(ENVS).repeat(count), LENGTH, burn_in, 0.9)


@pytest.mark.parametrize("steps", [7, 20, 73])
def test_sequences_are_steps_one_after_the_other(steps):
    """Before the ring is full, when it just is, and after three times round."""
    replay, seen = counted(steps)
    kept = seen[-replay.filled :]
    batch = every_sequence(replay)
    state = batch.state.unflatten(0, (-1, LENGTH))
    for n in range(len(state)):
        age, e = divmod(n, ENVS)
        last = len(kept) - 1 - age
        for k in range(LENGTH):
            assert torch.equal(state[n, k], kept[last - LENGTH + 1 + k][e])
        for k in range(BURN_IN + LENGTH):
            place = last - LENGTH - BURN_IN + 1 + k
            if place < 0:
                continue
            begins = place == 0 or int(kept[place][e, 1]) != int(kept[place - 1][e, 1])
            assert bool(batch.episode_starts[n, k]) == begins
            if k < BURN_IN:
                assert torch.equal(batch.earlier[0][n, k, :3], kept[place][e])


def test_successors_in_a_sequence_are_true_and_no_sequence_joins_two_episodes_unseen():
    """The next row is a step's successor, or an episode ended there and the next step says that another begins."""
    replay, _ = counted(73)
    batch = every_sequence(replay)
    (env, episode, count) = batch.state.unbind(1)
    over = (count + 1 == 3 + env % 4) & (episode % 2 == 0)
    assert torch.equal(batch.next_state[~over], torch.stack((env, episode, count + 1), 1)[~over])
    assert torch.equal(batch.discount[:, 0] == 0.0, over)
    state = batch.state.unflatten(0, (-1, LENGTH))
    following = batch.next_state.unflatten(0, (-1, LENGTH))
    inside = batch.episode_starts[:, BURN_IN + 1 :]
    goes_on = (following[:, :-1] == state[:, 1:]).all(-1) & ~over.unflatten(0, (-1, LENGTH))[:, :-1]
    assert torch.equal(goes_on, ~inside) and inside.any()


@pytest.mark.parametrize("burn_in", [0, 30])
def test_there_may_be_no_steps_before_or_more_than_are_stored(burn_in):
    replay, _ = counted(73)
    batch = every_sequence(replay, burn_in)
    assert batch.earlier[0].shape[:2] == (17 * ENVS, burn_in)
    assert torch.equal(batch.state, every_sequence(replay).state)
    if burn_in:  # a state that begins before the oldest step stored is zero again there
        oldest = batch.episode_starts.shape[1] - 20 + torch.arange(16, -1, -1)
        assert all(bool(batch.episode_starts[(16 - k) * ENVS, place]) for k, place in enumerate(oldest.tolist()))


def test_every_sequence_is_drawn_and_equally_often():
    replay, _ = counted(9)
    torch.manual_seed(0)
    batch = replay.sample_sequences(6000, LENGTH, BURN_IN, 0.9)
    first = batch.state.unflatten(0, (-1, LENGTH))[:, 0]
    places, counts = (first[:, 0] * 100 + first[:, 1] * 10 + first[:, 2]).unique(return_counts=True)
    assert len(places) == 6 * ENVS and counts.min() > 140 and counts.max() < 260


def test_after_episodes_were_lost_new_ones_begin():
    replay, _ = counted(12)
    replay.truncate_episodes()
    env = CountingGame(ENVS, CPU)
    explore(env, lambda step: torch.rand(ENVS, 2, 2), replay, env.reset(0), 3)
    assert every_sequence(replay).episode_starts[:ENVS, BURN_IN + 1].all()
