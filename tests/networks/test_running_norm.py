"""Inputs in units of their running moments: the moments against all inputs so far, and their use by the learner."""

import copy
import math

import pytest
import torch
from support import reference

from harl_isaac.algos import ALGOS
from harl_isaac.algos.happo import HappoCfg
from harl_isaac.algos.ippo import IppoCfg
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.running_norm import new_input_norm
from harl_isaac.registry import with_new_defaults

CPU = torch.device("cpu")
RAGGED = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
ALIKE = reference.spec_for((Box(3),) * 3, (6, 6, 6), has_alive=True)


def learner(spec, kind=HappoCfg, **changed):
    torch.manual_seed(0)
    result = kind(
        **{"input_norm": "running", "rollout_length": 6, "hidden": [16, 12], "epochs": 2, "critic_epochs": 2, **changed}
    ).learner(spec, 0)
    reference.scramble(result.actors)
    return result


def seen(spec, iterations, **changed):
    """A learner after some updates, with all rows [.., A, O], lives [.., A] and states [.., K, S] of its rollouts."""
    result = learner(spec, **changed)
    rows = []
    lives = []
    states = []
    for seed in range(iterations):
        reference.fill(result.rollout, result.actors, seed)
        rows.append(result.rollout.obs.flatten(0, 1).clone())
        lives.append(result.rollout.alive.flatten(0, 1).clone())
        states.append(result.rollout.state.flatten(0, 1).clone())
        result.update(0.0)
    return result, torch.cat(rows), torch.cat(lives), torch.cat(states)


def moments(numbers):
    mean = sum(numbers) / len(numbers)
    return mean, sum((x - mean) ** 2 for x in numbers) / len(numbers)


def literal(x, numbers):
    """x in units of the deviation of all numbers seen, within five of them."""
    mean, variance = moments(numbers)
    return max(-5.0, min(5.0, (x - mean) / math.sqrt(variance + 1e-5)))


def test_moments_are_those_of_all_rows_of_weight_one():
    torch.manual_seed(0)
    norm = new_input_norm("running", (2, 3), CPU)
    numbers = [[[] for _ in range(3)] for _ in range(2)]
    for size, offset in ((4, 100.0), (1, 3.0), (7, 100.0)):
        x = offset + torch.randn(size, 2, 3)
        weight = (torch.rand(size, 2) < 0.7).float()
        norm.update(x, weight)
        for row, i, f in torch.cartesian_prod(torch.arange(size), torch.arange(2), torch.arange(3)).tolist():
            if weight[row, i]:
                numbers[i][f].append(float(x[row, i, f]))
    expected = torch.tensor([[moments(feature) for feature in agent] for agent in numbers], dtype=torch.float64)
    torch.testing.assert_close(norm.mean, expected[..., 0], rtol=1e-6, atol=0.0)
    torch.testing.assert_close(norm.variance, expected[..., 1], rtol=1e-4, atol=0.0)
    probe = torch.tensor([[0.0, 100.0, 1e4], [90.0, 101.0, -1e4]])
    wanted = [[literal(float(probe[i, f]), numbers[i][f]) for f in range(3)] for i in range(2)]
    torch.testing.assert_close(norm(probe), torch.tensor(wanted), rtol=1e-4, atol=1e-4)
    assert norm(probe).abs().max() == 5.0


def test_nothing_is_learned_from_rows_without_weight_and_inputs_pass_before_the_first():
    norm = new_input_norm("running", (3,), CPU)
    norm.update(torch.randn(4, 3), torch.zeros(4))
    torch.testing.assert_close(norm(torch.tensor([0.5, -2.0, 9.0])), torch.tensor([0.5, -2.0, 5.0]))


@pytest.mark.parametrize("spec", [RAGGED, ALIKE], ids=["ragged", "alike"])
def test_each_network_sees_its_own_inputs_in_units_of_what_its_agent_saw_while_alive(spec):
    result, rows, lives, states = seen(spec, 3)
    for i, actor in enumerate(result.actors.agents):
        width = spec.obs_sizes[i]
        numbers = [[float(x) for x, alive in zip(rows[:, i, f], lives[:, i]) if alive] for f in range(width)]
        own = rows[:2, i, :width]
        wanted = torch.tensor([[literal(float(row[f]), numbers[f]) for f in range(width)] for row in own])
        torch.testing.assert_close(actor.net.standardized(own), wanted, rtol=1e-4, atol=1e-4)
    net = result.critic.function.critic.net
    numbers = [states[..., f].flatten().tolist() for f in range(spec.state_size)]
    wanted = torch.tensor(
        [[literal(float(x), numbers[f]) for f, x in enumerate(row)] for row in states[:2].flatten(0, 1)]
    )
    torch.testing.assert_close(net.standardized(states[:2].flatten(0, 1)), wanted, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("spec", [RAGGED, ALIKE], ids=["ragged", "alike"])
def test_the_stack_acts_as_each_agents_own_network_whatever_stands_in_the_padding(spec):
    result, rows, _, _ = seen(spec, 2)
    heads = result.actors.outputs(rows)
    for i, actor in enumerate(result.actors.agents):
        size = actor.distribution.head_size
        torch.testing.assert_close(heads[:, i, :size], actor.net(rows[:, i, : spec.obs_sizes[i]]), rtol=1e-4, atol=1e-5)
        rows[:, i, spec.obs_sizes[i] :] = 1e3
    torch.testing.assert_close(result.actors.outputs(rows), heads)


def test_a_shared_policy_has_one_set_of_moments():
    result, rows, lives, _ = seen(ALIKE, 2, share_param=True)
    numbers = rows[lives > 0.0][:, 0].tolist()
    wanted = [literal(float(x), numbers) for x in rows[:3, 1, 0]]
    assert result.actors.agents[0].net.standardized(rows[:3, 1])[:, 0].tolist() == pytest.approx(
        wanted, rel=1e-4, abs=1e-4
    )


def test_an_agents_own_critic_normalizes_what_the_agent_sees():
    result, rows, _, _ = seen(ALIKE, 2, kind=IppoCfg)
    numbers = rows[:, 1, 0].tolist()
    net = result.critic.functions[1].critic.net
    wanted = [literal(float(x), numbers) for x in rows[:3, 1, 0]]
    assert net.standardized(rows[:3, 1])[:, 0].tolist() == pytest.approx(wanted, rel=1e-4, abs=1e-4)


def test_while_a_rollout_is_collected_and_used_the_moments_stand_still(monkeypatch):
    """Else the policy that is updated would not be the one that acted: its ratios begin at 1."""
    result, _, _, _ = seen(RAGGED, 2)
    reference.fill(result.rollout, result.actors, 7)
    before = result.actors.input_norm.mean.clone()
    ratios = []
    for i in range(3):
        batch = result.rollout.agent(i)
        actor = result.actors.agent(i)
        ratios.append(batch.ratio(actor.evaluate_actions(batch.obs, batch.action, batch.mask)[0]))
    torch.testing.assert_close(torch.cat(ratios), torch.ones(3 * len(ratios[0])), rtol=1e-4, atol=1e-4)
    fit = result.critic.fit
    monkeypatch.setattr(result.critic, "fit", lambda *args: (fit(*args), stood_still(result, before))[0])
    result.update(0.0)
    assert not torch.equal(result.actors.input_norm.mean, before)


def stood_still(result, before):
    assert torch.equal(result.actors.input_norm.mean, before)


def test_moments_are_saved_and_shared_with_the_agents_networks():
    result, rows, _, _ = seen(RAGGED, 2)
    saved = copy.deepcopy(result.state_dict())
    fresh = learner(RAGGED)
    fresh.load_state_dict(saved)
    assert torch.equal(fresh.actors.outputs(rows), result.actors.outputs(rows))
    for i, width in enumerate(RAGGED.obs_sizes):
        assert torch.equal(fresh.actors.agents[i].net.input_norm.mean, result.actors.input_norm.mean[i, :width])


def test_with_a_layer_norm_nothing_is_normalized_by_moments():
    actors = StackedActors(ALIKE, (8,), "relu", 0.01)
    actors.update_input_norm(Rollout(ALIKE, 6).obs, Rollout(ALIKE, 6).alive)
    assert actors.input_norm is None and not any("input_norm" in name for name in actors.state_dict())
    with pytest.raises(ValueError, match="algo.input_norm=batch.*layer, running, none"):
        learner(ALIKE, input_norm="batch")


@pytest.mark.parametrize(
    "algo, expected",
    [
        (
            {"name": "happo", "head_gain": 0.02},
            {"name": "happo", "head_gain": 0.02, "input_norm": "layer", "layer_norm": True, "max_std": 0.5},
        ),
        ({"name": "happo", "head_gain": 0.01, "input_norm": "running", "max_std": 1.4},) * 2,
        ({"name": "hatd3"},) * 2,
    ],
    ids=["earlier", "newer", "off-policy"],
)
def test_a_run_from_before_there_was_a_choice_had_layer_norms_and_narrow_exploration(algo, expected):
    known = with_new_defaults(ALGOS, algo)
    assert {name: known[name] for name in expected} == expected
    assert ("input_norm" in known) == ("head_gain" in expected)
