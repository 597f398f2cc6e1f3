"""HAPPO's loss and update, and the learner around it: settings, schedule, what is saved."""

import copy

import pytest
import torch
from support import reference

from harl_isaac.algos.happo import HappoCfg
from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning import batching, policy_fit
from harl_isaac.learning.batching import minibatches
from harl_isaac.learning.metrics import explained_variance
from harl_isaac.networks.actors import StackedActors

SPEC = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
each_agent = pytest.mark.parametrize("i", range(3), ids=["box", "multidiscrete", "discrete"])


def settings(**changed):
    return HappoCfg(**{"rollout_length": 6, "hidden": [16, 12], "epochs": 2, "critic_epochs": 2, "lr": 0.01, **changed})


def actors_and_batch(i):
    """Scrambled policies and 24 rows of agent i's own experience."""
    torch.manual_seed(0)
    actors = StackedActors(SPEC, (16, 12), "relu", 0.01)
    reference.scramble(actors)
    return actors, reference.fill(Rollout(SPEC, 6), actors).agent(i)


def actor_and_batch(i):
    """Agent i's policy of these."""
    actors, batch = actors_and_batch(i)
    return actors.agents[i], batch


def updated(i, advantage, change_batch=lambda batch: None, **changed):
    """Agent i's policy after an update, its batch and the metrics."""
    actors, batch = actors_and_batch(i)
    change_batch(batch)
    trained = learner(**changed)
    trained.actors = actors
    trained.optimizers = trained.cfg.optimizers(actors)
    return actors.agents[i], batch, trained.update_agent(i, batch, advantage)


def parameters_of(actor):
    return [p.detach().clone() for p in actor.parameters()]


def learner(seed=0, **changed):
    torch.manual_seed(seed)
    return settings(**changed).learner(SPEC, seed)


def test_loss_is_the_clipped_surrogate():
    torch.manual_seed(0)
    log_ratio, advantage = torch.randn(2, 60, dtype=torch.float64)
    expected = [-reference.surrogate(r, a, 0.2) for r, a in zip(log_ratio.exp().tolist(), advantage.tolist())]
    assert learner(clip=0.2).surrogate(log_ratio.exp(), advantage).tolist() == pytest.approx(expected)


def test_a_ratio_beyond_the_clip_in_the_gaining_direction_gets_no_gradient():
    log_ratio = torch.tensor([0.3, 0.3, -0.3, -0.3, 0.1], requires_grad=True)
    advantage = torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    learner(clip=0.2).surrogate(log_ratio.exp(), advantage).sum().backward()
    assert (log_ratio.grad != 0.0).tolist() == [False, True, True, False, True]
    assert log_ratio.grad[4].item() == pytest.approx(-2.0 * torch.tensor(0.1).exp().item())


@each_agent
def test_an_update_makes_good_actions_likelier_and_bad_ones_less_likely(i):
    advantage = torch.where(torch.arange(24) % 2 == 0, 1.0, -1.0)
    actor, batch, _ = updated(i, advantage, epochs=5, entropy_coef=0.0)
    change = actor.evaluate_actions(batch.obs, batch.action, batch.mask)[0] - batch.log_prob
    assert (change * advantage * batch.alive).mean() > 0.01


@each_agent
def test_the_entropy_bonus_raises_the_entropy(i):
    actor, batch = actor_and_batch(i)
    before = actor.evaluate_actions(batch.obs, batch.action, batch.mask)[1].mean()
    actor, batch, _ = updated(i, torch.zeros(24), epochs=5, entropy_coef=1.0)
    assert actor.evaluate_actions(batch.obs, batch.action, batch.mask)[1].mean() > before + 1e-3


@each_agent
def test_loss_and_entropy_are_reported_as_means_over_living_rows(i):
    torch.manual_seed(1)
    advantage = torch.randn(24)
    actor, batch = actor_and_batch(i)
    assert 0 < batch.alive.sum() < 24
    entropy = reference.PlainActor(actor).evaluate_actions(batch.obs.double(), batch.action, batch.mask)[1]
    metrics = updated(i, advantage, epochs=1)[2]
    living = batch.alive.sum().item()
    assert metrics["loss"].item() == pytest.approx(-(advantage * batch.alive).sum().item() / living, abs=1e-5)
    assert metrics["entropy"].item() == pytest.approx((entropy * batch.alive).sum().item() / living, abs=1e-5)
    assert not any(value.requires_grad for value in metrics.values())


@each_agent
def test_what_a_dead_agent_saw_and_did_changes_nothing(i):
    def spoil(batch):
        batch.obs[batch.alive == 0.0] += 3.0
        batch.log_prob[batch.alive == 0.0] -= 1.0

    torch.manual_seed(1)
    advantage = torch.randn(24)
    spoilt = torch.where(actor_and_batch(i)[1].alive == 1.0, advantage, torch.tensor(50.0))
    torch.testing.assert_close(parameters_of(updated(i, advantage)[0]), parameters_of(updated(i, spoilt, spoil)[0]))


@each_agent
def test_where_nobody_is_alive_nothing_becomes_nan_and_nothing_moves(i):
    actor, _, metrics = updated(i, torch.randn(24), lambda batch: batch.alive.zero_(), minibatches=2)
    assert all(value.item() == 0.0 for value in metrics.values())
    torch.testing.assert_close(parameters_of(actor), parameters_of(actor_and_batch(i)[0]), rtol=0, atol=0)
    few, _, _ = updated(i, torch.randn(24), lambda batch: batch.alive[1:].zero_(), minibatches=4)
    assert all(torch.isfinite(p).all() for p in few.parameters())


@each_agent
def test_every_epoch_goes_through_all_rows_once_in_new_minibatches(i, monkeypatch):
    drawn = []
    monkeypatch.setattr(policy_fit, "minibatches", reference.recording(minibatches, drawn))
    updated(i, torch.randn(24), epochs=3, minibatches=4)
    assert [len(rows) for rows in drawn] == [6] * 12
    epochs = [sum(drawn[start : start + 4], []) for start in (0, 4, 8)]
    assert all(sorted(rows) == list(range(24)) for rows in epochs)
    assert epochs[0] != epochs[1] != epochs[2]


@each_agent
@pytest.mark.parametrize("minibatches_wanted", [1, 2])
def test_an_update_in_chunks_equals_one_in_whole_batches(i, minibatches_wanted, monkeypatch):
    results = []
    with reference.double_precision():
        for rows in (1000, 5):
            monkeypatch.setattr(batching, "chunk_rows", lambda width, rows=rows: rows)
            torch.manual_seed(1)
            actor, _, metrics = updated(i, torch.randn(24), minibatches=minibatches_wanted)
            results.append((parameters_of(actor), metrics))
    torch.testing.assert_close(*results)


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"minibatches": 5}, r"algo.minibatches=5 .* 24 \(rollout_length 6 x num_envs 4\)"),
        ({"critic_minibatches": 7}, r"algo.critic_minibatches=7 .* 24 \(rollout_length 6 x num_envs 4\)"),
        ({"minibatches": 0}, r"algo.minibatches=0 .* 24"),
        ({"activation": "gelu"}, r"algo.activation=gelu; possible: .*relu.*tanh"),
        ({"epochs": 0}, r"algo.epochs=0 must be within 1 and"),
        ({"critic_epochs": 0}, r"algo.critic_epochs=0 must be within 1 and"),
        ({"rollout_length": 0}, r"algo.rollout_length=0 must be a number of at least 1"),
    ],
)
def test_settings_that_cannot_work_are_refused_with_both_numbers(changed, message):
    with pytest.raises(ValueError, match=message):
        settings(**changed).learner(SPEC, 0)


def test_the_learning_rate_falls_linearly_if_asked():
    for decays, progress, share in ((True, 0.0, 1.0), (True, 0.25, 0.75), (True, 0.9, 0.1), (False, 0.9, 1.0)):
        agent = learner(lr_decay=decays, lr=0.01, critic_lr=0.02)
        reference.fill(agent.rollout, agent.actors)
        agent.update(progress)
        assert [o.param_groups[0]["lr"] for o in agent.optimizers] == pytest.approx([0.01 * share] * 3)
        assert agent.critic.function.optimizer.param_groups[0]["lr"] == pytest.approx(0.02 * share)


def tensors_of(state, name=""):
    """All tensors of a nested state, by path."""
    if torch.is_tensor(state):
        return {name: state}
    items = state.items() if isinstance(state, dict) else enumerate(state) if isinstance(state, (list, tuple)) else ()
    return {path: value for key, child in items for path, value in tensors_of(child, f"{name}/{key}").items()}


def trained(seed, updates):
    agent = learner(seed, activation="tanh")
    for iteration in range(updates):
        reference.fill(agent.rollout, agent.actors, 10 * seed + iteration)
        agent.update(0.0)
    return agent


def test_every_tensor_differs_before_loading_and_agrees_after_and_training_goes_on_the_same():
    ours = trained(seed=0, updates=1)
    other = trained(seed=1, updates=2)
    saved = copy.deepcopy(ours.state_dict())
    want = tensors_of(saved)
    have = tensors_of(other.state_dict())
    assert want.keys() == have.keys()
    for part, count in (
        ("/actors", 3 * 12),
        ("/critics/0/critic/net", 12),
        ("/critics/0/critic/normalizer", 3),
        ("/optimizers", 100),
    ):
        assert sum(path.startswith(part) for path in want) >= count
    assert [path for path in want if torch.equal(want[path], have[path])] == []
    other.load_state_dict(saved)
    have = tensors_of(other.state_dict())
    assert [path for path in want if not torch.equal(want[path], have[path])] == []
    for agent in (ours, other):
        torch.manual_seed(5)
        reference.fill(agent.rollout, agent.actors, 99)
        agent.update(0.0)
    want = tensors_of(ours.state_dict())
    have = tensors_of(other.state_dict())
    assert [path for path in want if not torch.equal(want[path], have[path])] == []
    assert ours.order.getstate() == other.order.getstate()


def test_explained_variance_is_one_for_the_truth_and_zero_for_its_mean():
    target = torch.tensor([1.0, 3.0, -2.0, 10.0])
    assert explained_variance(target, target).item() == 1.0
    assert explained_variance(target.mean().expand(4), target).item() == pytest.approx(0.0, abs=1e-6)
    assert explained_variance(target + 7.0, target).item() == pytest.approx(1.0)
    assert explained_variance(2.0 * target, target).item() == pytest.approx(0.0, abs=1e-6)
    assert torch.isfinite(explained_variance(target, torch.ones(4)))


def test_an_iteration_reports_finite_detached_numbers_under_fixed_names():
    agent = learner()
    reference.fill(agent.rollout, agent.actors)
    metrics = agent.update(0.0)
    names = ("loss", "entropy", "grad_norm", "kl", "ratio")
    expected = {"actor/" + name for name in names} | {f"agent/{who}/{name}" for who in "abc" for name in names}
    assert expected | {"critic/value", "critic/explained_variance", "factor/mean", "factor/std"} <= metrics.keys()
    assert all(value.ndim == 0 and torch.isfinite(value) and not value.requires_grad for value in metrics.values())
    for name in names:
        mean = sum(metrics[f"agent/{who}/{name}"].item() for who in "abc") / 3
        assert metrics["actor/" + name].item() == pytest.approx(mean, rel=1e-5)
