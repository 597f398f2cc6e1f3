"""HATRPO's step against a dense float64 version, its line search's decisions, the dead, and what it learns."""

from functools import partial
from types import SimpleNamespace

import pytest
import torch
from support import reference, reference_trpo
from support.host_reads import NoHostReads, needs_silent_adam

from harl_isaac.algos.hatrpo import BatchShard, HatrpoCfg, trust_region_update
from harl_isaac.buffers.rollout import Rollout, collect
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning import batching, natural_gradient
from harl_isaac.learning.sequential import sequential_update
from harl_isaac.networks.actors import StackedActors
from harl_isaac.training.trainer import Trainer

SPEC = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
each_agent = pytest.mark.parametrize("i", range(3), ids=["box", "multidiscrete", "discrete"])
NUMBERS = {
    "loss",
    "entropy",
    "grad_norm",
    "exact_kl",
    "improvement",
    "expected_improvement",
    "step_fraction",
    "accepted",
}


def settings(**changed):
    """Few iterations of conjugate gradient: each multiplies the rounding, tenfold where one eigenvalue lies far out."""
    return HatrpoCfg(**{"rollout_length": 6, "hidden": [6, 5], "critic_epochs": 1, "cg_iterations": 6, **changed})


def scrambled_actors(activation="relu"):
    torch.manual_seed(0)
    actors = StackedActors(SPEC, (6, 5), activation, 0.01)
    reference.scramble(actors)
    return actors


def actor_and_batch(i, activation="relu"):
    """Agent i's scrambled policy and 24 rows of its own experience."""
    actors = scrambled_actors(activation)
    return actors.agents[i], reference.fill(Rollout(SPEC, 6), actors).agent(i)


def updated(i, advantage, change_batch=lambda batch: None, **changed):
    """Agent i's policy after a step, its batch and the metrics."""
    actor, batch = actor_and_batch(i)
    change_batch(batch)
    return actor, batch, trust_region_update(actor, batch, advantage, settings(**changed))


def random_advantage():
    return torch.randn(24, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(
        torch.get_default_dtype()
    )


def parameters_of(actor):
    return [p.detach().clone() for p in actor.parameters()]


def assert_equal_by_name(actor, tensors, **tolerance):
    ours = {name.replace("net.", ""): p.detach() for name, p in actor.named_parameters()}
    assert ours.keys() == tensors.keys()
    for name, value in tensors.items():
        torch.testing.assert_close(ours[name].double(), value, **tolerance)


@each_agent
@pytest.mark.parametrize("activation", ["relu", "tanh"])
def test_gradient_and_fisher_vector_products_are_those_of_dense_derivatives(i, activation):
    with reference.double_precision():
        actor, batch = actor_and_batch(i, activation)
        advantage = random_advantage()
        problem = reference_trpo.Problem(actor, batch, advantage, getattr(torch, activation))
        share = BatchShard(actor, batch, batch.alive / batch.alive.sum(), advantage)
        found, surrogate, report = share.gradient()
        torch.testing.assert_close(found, problem.gradient())
        torch.testing.assert_close(surrogate, problem.surrogate(problem.start))
        dense = problem.fisher()
        assert 0 < batch.alive.sum() < 24 and torch.linalg.matrix_rank(dense) > 10
        for _ in range(2):
            v = torch.randn(len(found))
            torch.testing.assert_close(share.fisher(v), dense @ v, rtol=1e-6, atol=1e-9)


@each_agent
def test_a_step_solves_the_dense_system(i, monkeypatch):
    """Enough iterations for conjugate gradient to arrive: the step is the textbook's (H + damping)^-1 g."""
    monkeypatch.setattr(natural_gradient, "RESIDUAL", 0.0)
    with reference.double_precision():
        actor, batch = actor_and_batch(i)
        problem = reference_trpo.Problem(actor, batch, random_advantage())
        cfg = settings(
            cg_iterations=200, kl_threshold=1e-3
        )  # so small that the first trial is taken whatever the policy
        vector, j = reference_trpo.step(problem, cfg, torch.linalg.solve)
        assert j == 0
        metrics = trust_region_update(actor, batch, random_advantage(), cfg)
    assert_equal_by_name(actor, problem.tensors(vector), rtol=1e-6, atol=1e-9)
    assert metrics["exact_kl"].item() == pytest.approx(problem.kl(vector).item())
    assert 0.2 * cfg.kl_threshold < metrics["exact_kl"].item() < cfg.kl_threshold
    assert metrics["loss"].item() == pytest.approx(-problem.surrogate(vector).item())


# Settings and advantages under which the line search takes its different ways.
WAYS = {
    "default": ({}, random_advantage),
    "long": ({"kl_threshold": 1.0}, random_advantage),
    "short": ({"kl_threshold": 1e-5, "accept_ratio": 0.99}, random_advantage),
    "no more than promised": (
        {"kl_threshold": 0.3, "accept_ratio": 0.95, "backtrack_coeff": 0.6},
        lambda: -random_advantage().abs(),
    ),
    "more than can be had": ({"accept_ratio": 1.0}, lambda: -random_advantage().abs()),
    "few trials": ({"kl_threshold": 3.0, "line_search_steps": 2}, random_advantage),
}


@pytest.fixture(scope="module")
def ways():
    """Every way for every agent: (way, agent) -> (literal problem, vector, j, actor before, actor after, metrics)."""
    found = {}
    with reference.double_precision():
        for name, (changed, advantage) in WAYS.items():
            for i in range(3):
                actor, batch = actor_and_batch(i)
                problem = reference_trpo.Problem(actor, batch, advantage())
                cfg = settings(**changed)
                vector, j = reference_trpo.step(
                    problem,
                    cfg,
                    partial(reference_trpo.conjugate_gradient, iterations=cfg.cg_iterations),
                )
                before = parameters_of(actor)
                metrics = trust_region_update(actor, batch, advantage(), cfg)
                found[name, i] = SimpleNamespace(
                    problem=problem,
                    vector=vector,
                    j=j,
                    cfg=cfg,
                    before=before,
                    actor=actor,
                    metrics={key: value.item() for key, value in metrics.items()},
                )
    return found


@each_agent
@pytest.mark.parametrize("name", WAYS)
def test_the_policy_that_is_kept_is_the_literal_loops(ways, name, i):
    way = ways[name, i]
    assert way.metrics["step_fraction"] == (0.0 if way.j is None else way.cfg.backtrack_coeff**way.j)
    assert way.metrics["accepted"] == float(way.j is not None)
    assert_equal_by_name(way.actor, way.problem.tensors(way.vector), rtol=1e-6, atol=1e-9)
    if way.j is None:
        assert all(torch.equal(p, q) for p, q in zip(way.actor.parameters(), way.before))


def test_the_ways_are_all_that_there_are(ways):
    taken = {name: [ways[name, i].j for i in range(3)] for name in WAYS}
    assert 0 in taken["default"] and any(j for j in taken["long"]) and any(j for j in taken["no more than promised"])
    assert taken["more than can be had"] == [None] * 3 and None in taken["few trials"]


@each_agent
@pytest.mark.parametrize("name", WAYS)
def test_numbers_belong_to_the_policy_that_is_kept(ways, name, i):
    way = ways[name, i]
    problem = way.problem
    metrics = way.metrics
    change = way.vector - problem.start
    start = problem.surrogate(problem.start).item()
    kept = problem.surrogate(way.vector).item()
    assert metrics["loss"] == pytest.approx(-kept)
    assert metrics["improvement"] == pytest.approx(kept - start, rel=1e-6, abs=1e-12)
    assert metrics["expected_improvement"] == pytest.approx((problem.gradient() @ change).item(), rel=1e-6)
    assert metrics["exact_kl"] == pytest.approx(problem.kl(way.vector).item(), rel=1e-6, abs=1e-12)
    assert metrics["grad_norm"] == pytest.approx(problem.gradient().norm().item())
    plain = reference.PlainActor(way.actor)
    entropy = plain.evaluate_actions(problem.obs, problem.action, problem.mask)[1]
    assert metrics["entropy"] == pytest.approx(problem.mean(entropy).item())


@each_agent
def test_in_single_precision_a_step_equals_the_literal_one_to_rounding(i):
    actor, batch = actor_and_batch(i)
    problem = reference_trpo.Problem(actor, batch, random_advantage())
    cfg = settings(cg_iterations=3, kl_threshold=1e-3)
    vector, j = reference_trpo.step(
        problem, cfg, lambda matrix, target: reference_trpo.conjugate_gradient(matrix, target, cfg.cg_iterations)
    )
    metrics = trust_region_update(actor, batch, random_advantage(), cfg)
    ours = torch.cat([p.detach().double().flatten() for p in actor.parameters()])
    assert j == 0 and metrics["accepted"].item() == 1.0
    assert (ours - vector).norm() < 1e-3 * (vector - problem.start).norm()
    assert metrics["exact_kl"].item() == pytest.approx(problem.kl(vector).item(), rel=1e-2)


@each_agent
def test_what_a_dead_agent_saw_and_did_changes_nothing(i):
    def spoil(batch):
        batch.obs[batch.alive == 0.0] += 3.0
        batch.log_prob[batch.alive == 0.0] -= 1.0

    with reference.double_precision():
        advantage = random_advantage()
        spoilt = torch.where(actor_and_batch(i)[1].alive == 1.0, advantage, torch.tensor(50.0))
        whole, _, metrics = updated(i, advantage)
        other, _, others = updated(i, spoilt, spoil)
    torch.testing.assert_close(parameters_of(whole), parameters_of(other))
    torch.testing.assert_close(metrics, others)
    assert metrics["accepted"] == 1.0


@each_agent
@pytest.mark.parametrize("damping", [0.1, 0.0])
def test_where_nobody_is_alive_or_nothing_is_to_gain_nothing_becomes_nan_and_nothing_moves(i, damping):
    start = parameters_of(actor_and_batch(i)[0])
    for advantage, change in ((random_advantage(), lambda batch: batch.alive.zero_()), (torch.zeros(24), None)):
        actor, _, metrics = updated(i, advantage, change or (lambda batch: None), damping=damping)
        assert {name for name, value in metrics.items() if value.item() != 0.0} <= {"entropy"}
        assert all(torch.isfinite(value) for value in metrics.values())
        assert all(torch.equal(p, q) for p, q in zip(actor.parameters(), start))


def test_one_living_row_is_enough():
    actor, _, metrics = updated(0, random_advantage(), lambda batch: batch.alive[1:].zero_(), damping=0.0)
    assert all(torch.isfinite(value) for value in metrics.values())
    assert all(torch.isfinite(p).all() for p in actor.parameters())


@each_agent
@pytest.mark.parametrize("threads", [1, 2])
def test_an_update_in_chunks_equals_one_in_whole_batches(i, threads, monkeypatch):
    torch.set_num_threads(threads)
    results = []
    with reference.double_precision():
        for rows in (1000, 5):
            monkeypatch.setattr(batching, "chunk_rows", lambda width, rows=rows: rows)
            actor, _, metrics = updated(i, random_advantage(), kl_threshold=0.3)
            results.append((parameters_of(actor), metrics))
    torch.testing.assert_close(*results)
    assert torch.get_num_threads() == threads


@each_agent
def test_rows_in_sequences_are_the_same_rows(i):
    """[N, L, ...] in place of [B, ...]."""

    def in_sequences(batch):
        for name, value in vars(batch).items():
            setattr(batch, name, None if value is None else value.unflatten(0, (4, 6)))

    with reference.double_precision():
        flat, _, metrics = updated(i, random_advantage())
        folded, _, others = updated(i, random_advantage().view(4, 6), in_sequences)
    torch.testing.assert_close(parameters_of(flat), parameters_of(folded))
    torch.testing.assert_close(metrics, others)


@each_agent
def test_a_recurrent_policys_products_and_step_are_those_of_its_dense_hessian(i, monkeypatch):
    """Three steps from each stored state, with episodes that end inside."""
    monkeypatch.setattr(natural_gradient, "RESIDUAL", 0.0)
    cfg = settings(recurrent=True, chunk_length=3, hidden=[4, 3], cg_iterations=150)
    with reference.double_precision():
        torch.manual_seed(0)
        learner = cfg.learner(SPEC, 0)
        reference.scramble(learner.actors)
        reference.in_default_precision(learner.rollout)
        batch = reference.fill(learner.rollout, learner.actors).agent(i)
        actor = learner.actors.agents[i]
        weight = batch.alive / batch.alive.sum()
        parameters = list(actor.parameters())
        start = natural_gradient.flatten(parameters_of(actor))
        head = actor.head(batch.obs, batch.sequence)
        log_std = actor.log_std
        kl = actor.distribution.kl(
            head.detach(), None if log_std is None else log_std.detach(), head, log_std, batch.mask
        )
        slope = natural_gradient.flatten(torch.autograd.grad((weight * kl).sum(), parameters, create_graph=True))
        dense = torch.stack(
            [natural_gradient.flatten(torch.autograd.grad(each, parameters, retain_graph=True)) for each in slope]
        )
        share = BatchShard(actor, batch, weight, random_advantage().view(8, 3))
        v = torch.randn(len(start))
        torch.testing.assert_close(share.fisher(v), dense @ v, rtol=1e-6, atol=1e-9)
        x = torch.linalg.solve(dense + 0.1 * torch.eye(len(start)), share.gradient()[0])
        step = (2.0 * cfg.kl_threshold / (x @ share.gradient()[0])).sqrt() * x
        metrics = trust_region_update(actor, batch, random_advantage().view(8, 3), cfg)
        moved = natural_gradient.flatten(parameters_of(actor)) - start
    assert batch.sequence.episode_starts.any() and metrics["accepted"] == 1.0
    torch.testing.assert_close(moved, metrics["step_fraction"] * step, rtol=1e-5, atol=1e-8)


@pytest.mark.parametrize(
    "changed",
    [
        {"recurrent": True, "chunk_length": 3},
        {"share_param": True},
        {"fixed_order": True},
        {"action_aggregation": "mean"},
        {"share_param": True, "recurrent": True, "chunk_length": 2},
    ],
)
def test_it_runs_in_every_variant_of_the_policies(changed):
    same = bool(changed.get("share_param"))
    spec = reference.spec_for((MultiDiscrete((2, 3)),) * 3, (5, 7, 4), has_alive=True) if same else SPEC
    learner = settings(**changed).learner(spec, 0)
    reference.fill(learner.rollout, learner.actors)
    before = parameters_of(learner.actors)
    metrics = learner.update(0.0)
    assert all(torch.isfinite(value) for value in metrics.values())
    assert metrics["actor/accepted"] > 0.0 and metrics["actor/exact_kl"] < learner.cfg.kl_threshold
    assert any(not torch.equal(p, q) for p, q in zip(learner.actors.parameters(), before))


def test_three_agents_in_turn_equal_a_literal_loop_and_each_moves_alone_in_its_own_memory():
    cfg = settings(kl_threshold=0.1)
    order = (2, 0, 1)
    turns = []
    with reference.double_precision():
        actors = scrambled_actors()
        rollout = reference.fill(Rollout(SPEC, 6), actors)
        advantage = 3.0 + 2.0 * torch.randn(6, 4, 1)
        batches = [rollout.agent(i) for i in range(3)]
        moved, factor = reference_trpo.hatrpo(actors.agents, batches, [advantage.flatten().tolist()] * 3, order, cfg)
        addresses = [p.data_ptr() for p in actors.parameters()]
        stack = [weight.clone() for weight in actors.networks.weights]

        def update(i, batch, weighted):
            before = [parameters_of(actor) for actor in actors.agents]
            metrics = trust_region_update(actors.agents[i], batch, weighted, cfg)
            turns.append(
                [
                    any(not torch.equal(p, q) for p, q in zip(actor.parameters(), old))
                    for actor, old in zip(actors.agents, before)
                ]
            )
            return metrics

        metrics, last = sequential_update(actors, rollout, advantage, order, update)
    assert turns == [[i == agent for i in range(3)] for agent in order]
    for i, actor in enumerate(actors.agents):
        assert_equal_by_name(actor, moved[i], rtol=1e-6, atol=1e-9)
        assert metrics[i]["exact_kl"].item() < cfg.kl_threshold
    torch.testing.assert_close(last, factor)
    assert factor.std() > 0.1
    assert [p.data_ptr() for p in actors.parameters()] == addresses
    assert not any(torch.equal(weight, old) for weight, old in zip(actors.networks.weights, stack))


@each_agent
def test_a_step_brings_the_gain_that_it_promises(i):
    """Within the trust region, on the batch itself."""
    with reference.double_precision():
        _, _, metrics = updated(i, random_advantage(), kl_threshold=1e-6)
    assert metrics["improvement"].item() == pytest.approx(metrics["expected_improvement"].item(), rel=0.02)
    assert metrics["exact_kl"].item() == pytest.approx(1e-6, rel=1.0)


def test_an_iteration_reports_finite_detached_numbers():
    learner = settings().learner(SPEC, 0)
    reference.fill(learner.rollout, learner.actors)
    metrics = learner.update(0.0)
    assert {"actor/" + name for name in NUMBERS} <= metrics.keys()
    assert {f"agent/{who}/{name}" for who in "abc" for name in NUMBERS} <= metrics.keys()
    assert all(value.ndim == 0 and torch.isfinite(value) and not value.requires_grad for value in metrics.values())


@needs_silent_adam
@pytest.mark.parametrize(
    "task, overrides", [("MixedGame", []), ("MatrixGame", ["task.masks=true", "task.absences=true"])]
)
def test_an_iteration_reads_nothing_on_the_host(settings_of, task, overrides):
    cfg = settings_of(task, "algo=hatrpo", *overrides)
    env = cfg.task.make(cfg.num_envs, torch.device("cpu"), cfg.sim)
    learner = cfg.algo.learner(env.spec, 0)
    step = env.reset(0)
    for _ in range(2):
        with NoHostReads():
            step = collect(env, learner.actors, learner.rollout, step)
            learner.update(0.5)


@pytest.fixture(name="settings_of")
def _settings_of(settings):
    return settings


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"kl_threshold": -1.0}, r"algo.kl_threshold=-1 must be a number of at least 0"),
        ({"backtrack_coeff": 1.5}, r"algo.backtrack_coeff=1.5 must be within 0 and 1"),
        ({"accept_ratio": 2.0}, r"algo.accept_ratio=2 must be within 0 and 1"),
        ({"line_search_steps": 0}, r"algo.line_search_steps=0 must be within 1 and"),
        ({"cg_iterations": 0}, r"algo.cg_iterations=0 must be within 1 and"),
        ({"damping": -0.1}, r"algo.damping=-0.1 must be a number of at least 0"),
        ({"gamma": 2.0}, r"algo.gamma=2 must be within 0 and 1"),
    ],
)
def test_settings_that_cannot_work_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        settings(**changed).learner(SPEC, 0)


def test_the_matrix_game_is_learned(settings_of, tmp_path):
    trainer = Trainer(settings_of("MatrixGame", "algo=hatrpo", "num_envs=64", "total_steps=20000"))
    assert trainer.train(tmp_path)["episode/return"] > 0.9
