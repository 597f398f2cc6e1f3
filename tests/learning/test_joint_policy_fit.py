"""Policies of simultaneous schemes and critics of the agents' own are fitted in batched passes.

Equal to one after the other.
"""

import copy

import pytest
import torch
from support import reference

from harl_isaac.learning import batching
from harl_isaac.learning.joint_policy_fit import JointPolicyFit
from harl_isaac.learning.joint_step import joint_parts
from harl_isaac.learning.sequential import simultaneous_update
from harl_isaac.networks.stacked_mlp import StackedMLP
from tests.support.rank_runs import environment, in_double

SMALL = ["algo.hidden=[24,16]", "algo.rollout_length=6", "algo.epochs=3", "algo.max_grad_norm=0.05"]
CASES = {
    "different widths and kinds of actions": ["task=MixedGame", "algo=mappo"],
    "running moments": ["task=MixedGame", "algo=mappo", "algo.input_norm=running"],
    "ratios of each dimension": ["task=MixedGame", "algo=mappo", "algo.action_aggregation=mean"],
    "masks and absences": ["task=MatrixGame", "task.masks=true", "task.absences=true", "algo=ippo"],
    "critics of the agents' own": ["task=MixedGame", "algo=ippo", "algo.input_norm=running", "algo.clip=0.02"],
    "entropy": ["task=mpe/simple_spread", "algo=maa2c", "algo.entropy_coef=0.02"],
    "continuous": ["task=mpe/simple_spread", "task.continuous=true", "algo=mappo"],
    "without norms": ["task=MixedGame", "algo=ippo", "algo.layer_norm=false", "algo.input_norm=none"],
    "a frozen agent": ["task=mpe/simple_spread", "algo=mappo", "algo.frozen=[agent_1]"],
}


@pytest.fixture
def double():
    with reference.double_precision():
        yield


def two_updates(words):
    """A learner after two updates as it is, and one that was updated an agent at a time; the second metrics of each."""
    env, cfg = environment([*words, *SMALL], 12)
    learner = cfg.algo.learner(env.spec, 3)
    other = cfg.algo.learner(env.spec, 3)
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert isinstance(learner.scheme, JointPolicyFit)
    other.scheme = simultaneous_update
    if hasattr(other.critic, "joint"):
        other.critic.joint = None
    step = env.reset(3)
    metrics = {}
    for iteration in range(2):
        step, _ = learner.collect(env, step)
        in_double(learner.rollout)
        for name, value in vars(learner.rollout).items():
            if isinstance(value, torch.Tensor):
                setattr(other.rollout, name, value.clone())
        metrics = [each.update(iteration / 3) for each in (learner, other)]
    return learner, other, metrics


def assert_equal(learner, other, metrics):
    """The same weights, optimizers and metrics but for rounding."""
    for own, single in zip(learner.actors.parameters(), other.actors.parameters()):
        torch.testing.assert_close(own, single, rtol=1e-9, atol=1e-11)
    for own, single in zip(learner.critic.functions, other.critic.functions):
        torch.testing.assert_close(own.critic.state_dict(), single.critic.state_dict(), rtol=1e-9, atol=1e-11)
    for own, single in zip(learner.all_optimizers(), other.all_optimizers()):
        assert len(own.state) == len(single.state)
        for mine, theirs in zip(own.state.values(), single.state.values()):
            torch.testing.assert_close(mine, theirs, rtol=1e-8, atol=1e-13)
    assert metrics[0].keys() == metrics[1].keys()
    for name, value in metrics[1].items():
        torch.testing.assert_close(metrics[0][name], value, rtol=1e-9, atol=1e-10, msg=name)


@pytest.mark.parametrize("name", CASES)
def test_one_pass_for_all_agents_equals_one_agent_after_the_other(double, name):
    assert_equal(*two_updates(CASES[name]))


def test_parts_and_minibatches_change_nothing(double, monkeypatch):
    """Rows come in the same minibatches for every agent here, since each would draw its own otherwise."""

    def in_order(rows, count, device):
        return torch.arange(rows).roll(5).view(count, -1)

    monkeypatch.setattr(batching, "CPU_CHUNK", 16 * 24)
    monkeypatch.setattr("harl_isaac.learning.policy_fit.minibatches", in_order)
    monkeypatch.setattr("harl_isaac.learning.joint_policy_fit.minibatches", in_order)
    monkeypatch.setattr("harl_isaac.learning.critic_fit.minibatches", in_order)
    monkeypatch.setattr("harl_isaac.learning.joint_critic_fit.minibatches", in_order)
    words = ["task=mpe/simple_spread", "algo=ippo", "algo.minibatches=4", "algo.critic_minibatches=3"]
    assert_equal(*two_updates(words))


def test_nobody_moves_who_is_dead_throughout(double):
    words = ["task=MatrixGame", "task.masks=true", "task.absences=true", "algo=mappo"]
    env, cfg = environment([*words, *SMALL], 12)
    learner = cfg.algo.learner(env.spec, 3)
    step, _ = learner.collect(env, env.reset(3))
    in_double(learner.rollout)
    learner.update(0.0)  # the optimizers have moments that would move a network on
    learner.collect(env, step)
    in_double(learner.rollout)
    learner.rollout.alive[..., 1] = 0.0
    before = copy.deepcopy(learner.state_dict())
    learner.update(0.0)
    after = learner.state_dict()
    moved = {name for name, value in after["actors"].items() if not torch.equal(value, before["actors"][name])}
    assert any(name.startswith("agents.0.") for name in moved)
    assert not any(name.startswith("agents.1.") for name in moved)
    assert after["optimizers"][1]["state"][0]["step"] == before["optimizers"][1]["state"][0]["step"]


def test_which_learners_fit_all_at_once():
    def scheme(*words):
        env, cfg = environment(["task=mpe/simple_spread", *words], 12)
        return cfg.algo.learner(env.spec, 0).scheme

    assert isinstance(scheme("algo=ippo"), JointPolicyFit)
    assert scheme("algo=mappo", "algo.share_param=true") is simultaneous_update
    assert scheme("algo=mappo", "algo.recurrent=true", "algo.rollout_length=20") is simultaneous_update
    assert not isinstance(scheme("algo=happo"), JointPolicyFit)


def test_parts_of_a_gpu_are_as_large_as_its_memory_bears():
    cuda = torch.device("cuda")
    rows = 2**18
    few, many = (StackedMLP([4] * count, [8], [2] * count, "relu", torch.device("cpu")) for count in (3, 27))
    parts = joint_parts(slice(0, rows), rows, few, cuda)
    assert [part.stop for part in parts][:2] == [rows // 3, 2 * (rows // 3)] and parts[-1].stop == rows
    assert joint_parts(slice(0, 1000), 1000, many, cuda) == [slice(0, 1000)]
    index = torch.randperm(rows)
    assert torch.equal(torch.cat(joint_parts(index, rows, few, cuda)), index)
