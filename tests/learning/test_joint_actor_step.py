"""MADDPG's and MATD3's actors step in one pass: equal to one actor after the other."""

import copy

import pytest
import torch
from support import reference

from harl_isaac.learning import batching
from tests.support.rank_runs import environment

SMALL = ["algo.hidden=[24,16]", "algo.buffer_size=2000", "algo.warmup_steps=48", "algo.batch_size=40"]
SPREAD = ["task=mpe/simple_spread", "task.continuous=true"]
CASES = {
    "maddpg": [*SPREAD, "algo=maddpg"],
    "a reward for each agent": [*SPREAD, "task.local_ratio=0.5", "task.reward=agent", "algo=matd3"],
    "different widths": ["task=mpe/simple_speaker_listener", "task.continuous=true", "algo=matd3"],
    "clipped": [*SPREAD, "algo=matd3", "algo.max_grad_norm=0.01"],
    "a frozen agent": [*SPREAD, "algo=maddpg", "algo.frozen=[agent_1]"],
}


@pytest.fixture(autouse=True)
def double():
    with reference.double_precision():
        yield


def learner_and_batch(words):
    env, cfg = environment([*words, *SMALL], 12)
    learner = cfg.algo.learner(env.spec, 3)
    learner.collect(env, env.reset(3))
    return learner, learner.replay.sample(40, 1, 0.99)


def assert_equal(words, dead=None):
    learner, batch = learner_and_batch(words)
    other = copy.deepcopy(learner)
    other.joint_step = None
    assert learner.joint_step is not None
    batch.alive = batch.alive.clone()
    for _ in range(3):
        batch.alive[:, 0] = (torch.rand(40) < 0.7).double()
        own, single = (each.fit_actors(batch) for each in (learner, other))
        assert own.keys() == single.keys() == set(learner.trained)
        for i in own:
            torch.testing.assert_close(own[i], single[i], rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(learner.actors.parameters(), other.actors.parameters()):
        torch.testing.assert_close(mine, theirs, rtol=1e-9, atol=1e-12)
    for mine, theirs in zip(learner.all_optimizers(), other.all_optimizers()):
        pairs = zip(mine.state.values(), theirs.state.values())
        assert len(mine.state) == len(theirs.state)
        for state, literal in pairs:
            torch.testing.assert_close(state, literal, rtol=1e-8, atol=1e-14)


@pytest.mark.parametrize("name", CASES)
def test_one_pass_equals_one_actor_after_the_other(name):
    assert_equal(CASES[name])


def test_parts_change_nothing(monkeypatch):
    monkeypatch.setattr(batching, "CPU_CHUNK", 24 * 9)
    assert_equal(CASES["maddpg"])


def test_a_dead_agent_does_not_move():
    words = CASES["maddpg"]
    learner, batch = learner_and_batch(words)
    learner.spec = copy.copy(learner.spec)
    object.__setattr__(learner.spec, "has_alive", True)
    learner.fit_actors(batch)
    batch.alive = batch.alive.clone()
    batch.alive[:, 1] = 0.0
    before = copy.deepcopy(learner.actors.state_dict())
    learner.fit_actors(batch)
    moved = {name for name, value in learner.actors.state_dict().items() if not torch.equal(value, before[name])}
    assert {name.split(".")[1] for name in moved} == {"0", "2"}


def test_networks_that_are_not_alike_step_one_by_one():
    learner, _ = learner_and_batch([*SPREAD, "algo=maddpg", "algo.layer_norm=true"])
    assert learner.joint_step is None
    learner, _ = learner_and_batch([*SPREAD, "algo=hatd3"])
    assert learner.joint_step is None
