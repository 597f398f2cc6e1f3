"""The sequential scheme: the factor, whose turn it is, and a whole HAPPO update against a literal loop."""

import math
from itertools import permutations

import pytest
import torch
from support import reference

from harl_isaac.algos.happo import Happo, HappoCfg
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning import policy_fit
from harl_isaac.learning.batching import minibatches
from harl_isaac.learning.metrics import alive_mean
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.sequential import sequential_update
from harl_isaac.networks.actors import StackedActors

EQUAL = reference.spec_for((Box(3),) * 3, (6, 6, 6))
OWN_STATES = reference.spec_for((Box(2),) * 3, (5, 7, 2), state_agents=3)
MIXED = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
everywhere = pytest.mark.parametrize("spec", [EQUAL, OWN_STATES, MIXED], ids=["equal", "own states", "mixed"])
ROWS = 24


def scrambled_actors(spec):
    torch.manual_seed(0)
    actors = StackedActors(spec, (16, 12), "relu", 0.01)
    reference.scramble(actors)
    return actors


def filled_rollout(spec, actors, seed=0):
    return reference.fill(Rollout(spec, 6), actors, seed)


def settings(**changed):
    return HappoCfg(**{"rollout_length": 6, "hidden": [16, 12], "epochs": 2, "critic_epochs": 1, **changed})


def batches_of(rollout):
    """Each agent's rows for the literal loop: observations, actions, alive, mask."""
    each = [rollout.agent(i) for i in range(rollout.spec.num_agents)]
    return [(b.obs.double(), b.action.double(), b.alive.double(), b.mask) for b in each]


def ratios(before, after, batches):
    """pi_after / pi_before of each row, agent by agent."""
    return [
        (new.evaluate_actions(obs, action, mask)[0] - old.evaluate_actions(obs, action, mask)[0]).exp().detach()
        for old, new, (obs, action, _, mask) in zip(before, after, batches)
    ]


def moving_update(actors, seen):
    """An update that notes what it was given and moves its agent a little."""

    def update(i, batch, weighted):
        seen[i] = weighted.clone()
        assert not weighted.requires_grad
        reference.scramble(actors.agents[i], seed=i, size=0.05)
        return {"mark": torch.tensor(float(i))}

    return update


@everywhere
@pytest.mark.parametrize("order", [(0, 1, 2), (2, 0, 1)])
def test_each_agent_gets_its_normalized_advantage_times_all_earlier_ratios(spec, order):
    with reference.double_precision():
        actors = scrambled_actors(spec)
        seen = {}
        rollout = filled_rollout(spec, actors)
        advantage = 3.0 + 2.0 * torch.randn(6, 4, spec.state_agents)
        before = [reference.PlainActor(actor) for actor in actors.agents]
        metrics, last = sequential_update(actors, rollout, advantage, order, moving_update(actors, seen))
        after = [reference.PlainActor(actor) for actor in actors.agents]
        batches = batches_of(rollout)
        columns = reference.normalized_columns(advantage, rollout.alive)
        ratio = ratios(before, after, batches)
        factor = torch.ones(ROWS)
        given = {}
        for i in order:
            given[i] = factor
            torch.testing.assert_close(seen[i], factor * torch.tensor(columns[i]))
            factor = factor * ratio[i]
        assert (ratio[order[0]] - 1.0).abs().max() > 0.05
        torch.testing.assert_close(last, factor)
        for i in order:
            alive = batches[i][2]
            kl = ((ratio[i] - 1.0 - ratio[i].log()) * alive).sum() / alive.sum()
            torch.testing.assert_close(metrics[i]["kl"], kl)
            torch.testing.assert_close(metrics[i]["ratio"], (ratio[i] * alive).sum() / alive.sum())
            assert metrics[i]["mark"] == i
            torch.testing.assert_close(metrics[i]["factor"], (given[i] * alive).sum() / alive.sum())


@everywhere
def test_a_policy_that_drops_its_actions_altogether_has_finite_metrics(spec):
    """Their probability underflows; nothing else is wrong with it."""

    def far(i, batch, weighted):
        with torch.no_grad():
            for name, value in actors.agents[i].named_parameters():
                if name != "log_std":
                    value.mul_(300.0)
        return {}

    actors = scrambled_actors(spec)
    metrics, last = sequential_update(
        actors, filled_rollout(spec, actors), torch.randn(6, 4, spec.state_agents), (0, 1, 2), far
    )
    assert (last == 0.0).any() and bool(torch.isfinite(last).all())
    assert all(bool(torch.isfinite(value)) for i in range(3) for value in metrics[i].values())
    assert max(float(metrics[i]["kl"]) for i in range(3)) > 10.0


def literal_and_library(spec, cfg, monkeypatch, order=(2, 0, 1), iterations=2):
    """The agents' parameters after the library's updates and after a literal loop's, and the two last factors."""
    actors = scrambled_actors(spec)
    drawn = []
    monkeypatch.setattr(policy_fit, "minibatches", reference.recording(minibatches, drawn))
    plain = [reference.PlainActor(actor) for actor in actors.agents]
    learner = cfg.learner(spec, 0)
    learner.actors = actors
    learner.optimizers = cfg.optimizers(actors)
    theirs = [torch.optim.Adam(actor.parameters(), lr=cfg.lr, eps=cfg.adam_eps) for actor in plain]
    for iteration in range(iterations):
        rollout = filled_rollout(spec, actors, seed=iteration)
        advantage = 3.0 + 2.0 * torch.randn(6, 4, spec.state_agents)
        drawn.clear()
        last = sequential_update(actors, rollout, advantage, order, learner.update_agent)[1]
        steps = cfg.epochs * cfg.minibatches
        parts = {i: drawn[k * steps : (k + 1) * steps] for k, i in enumerate(order)}
        factor = reference.happo(
            plain,
            theirs,
            batches_of(rollout),
            reference.normalized_columns(advantage, rollout.alive),
            order,
            parts,
            cfg,
        )
    return [dict(actor.named_parameters()) for actor in actors.agents], plain, last, factor


@everywhere
@pytest.mark.parametrize("changed", [{}, {"minibatches": 3, "max_grad_norm": 0.2}, {"entropy_coef": 0.3, "clip": 0.05}])
def test_two_updates_of_three_agents_equal_a_literal_loop(spec, changed, monkeypatch):
    """In float64, with steps so long that ratios are clipped and momentum counts."""
    cfg = settings(**{"lr": 0.02, "entropy_coef": 0.01, **changed})
    with reference.double_precision():
        ours, plain, last, factor = literal_and_library(spec, cfg, monkeypatch)
    for mine, actor in zip(ours, plain):
        assert len(mine) == len(list(actor.parameters()))
        for name, value in actor.named_parameters():
            theirs = mine[name if name == "log_std" else "net." + name]
            torch.testing.assert_close(theirs, value, rtol=1e-6, atol=1e-9)
    assert last.tolist() == pytest.approx(factor, rel=1e-6)
    assert max(factor) > 1.0 + cfg.clip and min(factor) < 1.0 - cfg.clip


@everywhere
def test_in_single_precision_an_update_equals_the_literal_loop_to_rounding(spec, monkeypatch):
    ours, plain, last, factor = literal_and_library(spec, settings(minibatches=2), monkeypatch, iterations=1)
    for mine, actor in zip(ours, plain):
        for name, value in actor.named_parameters():
            error = (mine[name if name == "log_std" else "net." + name] - value).norm() / value.norm()
            assert error < 1e-5
    assert last.tolist() == pytest.approx(factor, rel=1e-4)


@everywhere
def test_in_an_agents_step_only_its_parameters_move(spec):
    """Bitwise, and also when everybody has momentum from the iterations before; the critic moves after all of them."""
    order = []
    at_start = []

    class Watched(Happo):
        def update_agent(self, i, batch, advantage):
            before = [[p.detach().clone() for p in each.parameters()] for each in self.actors.agents]
            metrics = super().update_agent(i, batch, advantage)
            moved = [
                any(not torch.equal(p, q) for p, q in zip(each.parameters(), old))
                for each, old in zip(self.actors.agents, before)
            ]
            assert moved == [j == i for j in range(3)]
            assert all(torch.equal(p, q) for p, q in zip(self.critic.function.critic.parameters(), at_start))
            order.append(i)
            return metrics

    torch.manual_seed(0)
    learner = Watched(spec, settings())
    for iteration in range(4):
        reference.fill(learner.rollout, learner.actors, iteration)
        at_start[:] = [p.detach().clone() for p in learner.critic.function.critic.parameters()]
        learner.update(0.0)
        assert sorted(order[-3:]) == [0, 1, 2]
        assert any(not torch.equal(p, q) for p, q in zip(learner.critic.function.critic.parameters(), at_start))
    assert len(order) == 12


def orders_drawn(seed, count):
    """The agents' order in `count` updates of a learner whose agents stand still."""
    torch.manual_seed(0)
    order = []

    class Still(OnPolicyLearner):
        def update_agent(self, i, batch, advantage):
            order.append(i)
            return {"number": torch.tensor(float(len(order) % 3)), "agent": torch.tensor(float(i))}

    learner = Still(EQUAL, settings(hidden=[4]), seed)
    reference.fill(learner.rollout, learner.actors)
    metrics = [learner.update(0.0) for _ in range(count)]
    return [tuple(order[3 * k : 3 * k + 3]) for k in range(count)], metrics


def test_every_agent_is_updated_once_in_random_order():
    orders, _ = orders_drawn(seed=1, count=60)
    assert set(orders) == set(permutations(range(3)))
    assert orders_drawn(seed=1, count=9)[0] == orders[:9] != orders_drawn(seed=2, count=9)[0]


def test_metrics_carry_the_agents_name_and_not_its_number_in_the_order():
    orders, metrics = orders_drawn(seed=1, count=9)
    assert len(set(orders)) > 1
    for order, values in zip(orders, metrics):
        assert [values[f"agent/{name}/agent"].item() for name in "abc"] == [0.0, 1.0, 2.0]
        assert [values[f"agent/{name}/turn"].item() for name in "abc"] == [order.index(i) for i in range(3)]
        assert values["actor/agent"].item() == 1.0
        assert values["agent/a/ratio"].item() == pytest.approx(1.0, abs=1e-5)
        assert values["factor/mean"].item() == pytest.approx(1.0, abs=1e-5)


@everywhere
def test_the_first_agent_is_given_the_advantage_of_the_whole_iteration(spec):
    """From values before any fit, in units of the return, of each state and of its true successor."""
    seen = []

    class Noting(OnPolicyLearner):
        def update_agent(self, i, batch, advantage):
            seen.append((advantage, batch.alive, i))
            return {}

    with reference.double_precision():
        torch.manual_seed(0)
        learner = Noting(spec, settings())
        rollout = reference.fill(learner.rollout, learner.actors)
        moments = reference.RunningMoments(0.99999)
        critic = learner.critic.function.critic
        batch = 20.0 + 5.0 * torch.randn(50)
        for each in (moments, critic.normalizer):
            each.update(batch)
        (mean, std) = moments.moments()
        layers = reference.layers_of(critic.net)
        value, next_value = [
            torch.tensor([reference.mlp_row(layers, row, "relu") for row in x.flatten(0, 2).tolist()]).reshape(6, 4, -1)
            * std
            + mean
            for x in (rollout.state, rollout.next_state)
        ]
        metrics = learner.update(0.0)
        advantage = reference.advantage(
            rollout.reward,
            value,
            next_value,
            rollout.terminated,
            rollout.truncated,
            learner.cfg.gamma,
            learner.cfg.gae_lambda,
        )
        for weighted, _, i in seen:
            expected = reference.normalized_columns(advantage, rollout.alive)[i]
            assert weighted.tolist() == pytest.approx(expected, rel=1e-5, abs=1e-6)
        explained = 1.0 - advantage.var() / (advantage + value).var()
        assert metrics["critic/explained_variance"].item() == pytest.approx(explained.item(), rel=1e-5)
        assert metrics["critic/value"].item() == pytest.approx(value.mean().item())


def test_means_over_nobody_are_zero():
    value = torch.tensor([1.0, 2.0, 6.0])
    assert alive_mean(value, torch.zeros(3)).item() == 0.0
    assert alive_mean(value, torch.tensor([1.0, 0.0, 1.0])).item() == 3.5
    assert math.isfinite(alive_mean(value, torch.tensor([0.0, 1.0, 0.0])).item())
