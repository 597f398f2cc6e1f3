"""The off-policy scheme, HADDPG, HATD3, MADDPG and MATD3: against literal versions, who moves when, what is refused."""

import math
from dataclasses import replace
from itertools import permutations

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from support import reference
from support import reference_off_policy as literal
from support.resuming import flat, same, whole_and_resumed
from support.small_runs import ACTOR_CRITIC, OFF_POLICY

from harl_isaac.algos import ALGOS
from harl_isaac.algos.haddpg import HaddpgCfg
from harl_isaac.algos.hatd3 import Hatd3Cfg
from harl_isaac.algos.maddpg import MaddpgCfg
from harl_isaac.algos.matd3 import Matd3Cfg
from harl_isaac.buffers.replay import explore
from harl_isaac.config import RunCfg
from harl_isaac.env import Box, Discrete
from harl_isaac.learning import batching
from harl_isaac.networks.joint_policy import ObservationPacker
from harl_isaac.registry import import_object
from harl_isaac.tasks.games.sum import SumGame
from harl_isaac.training import checkpoint, curves
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.load_policy import load_policy
from harl_isaac.training.trainer import Trainer

THREE = reference.spec_for((Box(3), Box(1, -3.0, 1.0), Box(2, 0.0, 2.0)), (5, 7, 2))
EACH = reference.spec_for((Box(3), Box(1), Box(2)), (5, 7, 2), reward_agents=3, state_agents=3, has_alive=True)
CHOICES = reference.spec_for((Discrete(3), Discrete(2), Discrete(4)), (5, 7, 2))
CONTINUOUS = [name for name in ACTOR_CRITIC if name != "had3qn"]
KINDS = (HaddpgCfg, Hatd3Cfg, MaddpgCfg, Matd3Cfg)
SMALL = {
    "hidden": [8, 6],
    "buffer_size": 60,
    "warmup_steps": 40,
    "batch_size": 10,
    "train_interval": 2,
    "lr": 0.01,
    "critic_lr": 0.02,
}


def built(kind, spec=THREE, **changed):
    return literal.filled(literal.scrambled(kind(**{**SMALL, **changed}), spec))


# What the critic is fitted to.


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("spec", [THREE, EACH], ids=["team", "each"])
def test_targets_equal_a_literal_loop(kind, spec, monkeypatch):
    """y = sum gamma^k r + gamma^n min_j Q_j'(s', clip(mu'(o') + clip(noise))); the noise of each agent is recorded."""
    with reference.double_precision():
        learner = built(kind, spec, policy_noise=0.7) if issubclass(kind, Hatd3Cfg) else built(kind, spec)
        batch = learner.replay.sample(6, 3, 0.9)
        drawn = []
        randn_like = torch.randn_like
        monkeypatch.setattr(torch, "randn_like", lambda x: drawn.append(randn_like(x)) or drawn[-1])
        target = learner.target(batch)
        assert len(drawn) == (3 if issubclass(kind, Hatd3Cfg) else 0)
        for b in range(6):
            actions = []
            for i in range(3):
                own = literal.row_of(learner.target_actors.agent(i), batch.next_obs[i][b].tolist())
                own = [math.tanh(x) for x in own]
                if drawn:
                    own = [
                        min(max(a + min(max(0.7 * z, -0.5), 0.5), -1.0), 1.0) for a, z in zip(own, drawn[i][b].tolist())
                    ]
                actions += own
            estimates = [
                literal.row_of(net, batch.next_state[b].tolist() + actions) for net in learner.target_critic.nets
            ]
            for k in range(spec.reward_agents):
                after = min(estimate[k] for estimate in estimates)
                expected = float(batch.reward[b, k]) + float(batch.discount[b, 0]) * after
                assert target[b, k].item() == pytest.approx(expected, rel=1e-10)
        if drawn:
            assert max(float(z.abs().max()) for z in drawn) * 0.7 > 0.5  # some of it was clipped


def test_a_transition_without_a_known_successor_is_left_out():
    learner = built(HaddpgCfg)
    batch = learner.replay.sample(10, 1, 0.9)
    batch.valid[3:] = 0.0
    batch.reward[3:] = 1e6
    assert learner.fit_critic(batch)["loss"] < 1e3


# The whole update.


def literal_update(learner, batch, order):
    """One update of Algorithm 6 or 7 in float64 on networks of its own; returns them by name."""
    cfg = learner.cfg
    agents = range(len(learner.actors.agents))
    actors, critics = ([literal.PlainNet(net) for net in nets] for nets in (learner.actors.agents, learner.critic.nets))
    target = learner.target(batch)
    optimizer = torch.optim.Adam([p for net in critics for p in net.parameters()], lr=cfg.critic_lr)
    joint = torch.cat([batch.state, *batch.action], 1)
    reference.stepped(optimizer, sum((net(joint) - target).square().mean() for net in critics), 1e9)
    acting = list(batch.action) if not learner.sequential else [actors[j](batch.obs[j]).tanh().detach() for j in agents]
    for i in order:
        own = torch.optim.Adam(actors[i].parameters(), lr=cfg.lr)
        acts = [actors[i](batch.obs[i]).tanh() if j == i else acting[j] for j in agents]
        reference.stepped(own, -critics[0](torch.cat([batch.state, *acts], 1)).mean(), 1e9)
        if learner.sequential:
            acting[i] = actors[i](batch.obs[i]).tanh().detach()
    return actors, critics


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("order", [[0, 1, 2], [2, 0, 1]])
def test_an_update_equals_a_hand_written_chain(kind, order):
    with reference.double_precision():
        learner = built(kind, **({"policy_noise": 0.0} if issubclass(kind, Hatd3Cfg) else {}))
        batch = learner.replay.sample(10, 2, 0.9)
        learner.replay.sample = lambda *args: batch
        learner.draw_agent_order = lambda: order
        targets = [literal.parameters(learner.target_actors), literal.parameters(learner.target_critic)]
        actors, critics = literal_update(learner, batch, order)
        learner.cfg = replace(learner.cfg, train_interval=1)
        learner.update(0.0)
        for mine, theirs in zip((*learner.actors.agents, *learner.critic.nets), (*actors, *critics)):
            literal.same(mine, theirs.numbers)
        for target, old, network in zip(
            (learner.target_actors, learner.target_critic), targets, (learner.actors, learner.critic)
        ):
            literal.same(target, literal.followed(old, network.parameters(), learner.cfg.polyak))


@pytest.mark.parametrize("kind", [HaddpgCfg, Hatd3Cfg])
def test_each_agent_meets_new_actions_of_those_before_it_and_old_ones_of_those_after(kind):
    learner = built(kind)
    batch = learner.replay.sample(10, 1, 0.9)
    seen = []
    order = [1, 2, 0]
    learner.draw_agent_order = lambda: order
    before = [learner.action(i, batch) for i in range(3)]
    fit = learner.fit_actor
    learner.fit_actor = lambda i, batch, actions: seen.append([a.clone() for a in actions]) or fit(i, batch, actions)
    learner.fit_actors(batch)
    after = [learner.action(i, batch) for i in range(3)]
    assert all(not torch.equal(a, b) for a, b in zip(before, after))
    for place, i in enumerate(order):
        for j in range(3):
            if j != i:
                assert torch.equal(seen[place][j], (after if j in order[:place] else before)[j])


@pytest.mark.parametrize("kind", [MaddpgCfg, Matd3Cfg])
def test_simultaneous_agents_meet_replayed_actions(kind):
    learner = built(kind)
    batch = learner.replay.sample(10, 1, 0.9)
    seen = []
    fit = learner.fit_actor
    learner.fit_actor = lambda i, batch, actions: seen.append([a.clone() for a in actions]) or fit(i, batch, actions)
    learner.fit_actors(batch)
    assert all(torch.equal(a, b) for actions in seen for a, b in zip(actions, batch.action))


@pytest.mark.parametrize("name", ACTOR_CRITIC)
def test_in_an_agents_turn_it_alone_moves(name):
    learner = built(import_object(ALGOS[name]), THREE if name in CONTINUOUS else CHOICES)
    batch = learner.replay.sample(10, 1, 0.9)
    actions = learner.replayed_actions(batch)
    for i in range(3):
        modules = [*learner.actors.agents, learner.critic, *[network for network, _ in learner.targets]]
        before = [literal.parameters(module) for module in modules]
        learner.fit_actor(i, batch, actions)
        assert [literal.moved(old, module) for old, module in zip(before, modules)] == [
            j == i for j in range(len(modules))
        ]
    before = [literal.parameters(module) for module in modules]
    learner.fit_critic(batch)
    assert [literal.moved(old, module) for old, module in zip(before, modules)] == [j == 3 for j in range(len(modules))]


def test_actors_and_targets_wait_for_the_policy_delay():
    learner = built(Hatd3Cfg, policy_delay=3, train_interval=1)
    history = []
    for _ in range(7):
        modules = (learner.actors, learner.target_actors, learner.target_critic, learner.critic)
        before = [literal.parameters(module) for module in modules]
        learner.update(0.0)
        history.append([literal.moved(old, module) for old, module in zip(before, modules)])
    assert history == [[k % 3 == 0] * 3 + [True] for k in range(7)]


def test_the_order_is_random_unless_fixed():
    learner = built(HaddpgCfg)
    assert {tuple(learner.draw_agent_order()) for _ in range(60)} == set(permutations(range(3)))
    fixed = built(HaddpgCfg, fixed_order=True)
    assert {tuple(fixed.draw_agent_order()) for _ in range(20)} == {(0, 1, 2)}


def test_each_agent_ascends_the_value_of_its_own_reward():
    learner = built(HaddpgCfg, EACH)
    batch = learner.replay.sample(10, 1, 0.9)
    with torch.no_grad():
        for net in learner.critic.nets:
            net.layers[-1].weight[[0, 2]] = 0.0  # only the second agent's reward depends on anything
    before = [literal.parameters(actor) for actor in learner.actors.agents]
    learner.fit_actors(batch)
    assert [literal.moved(old, actor) for old, actor in zip(before, learner.actors.agents)] == [False, True, False]


def test_rows_where_an_agent_was_absent_do_not_move_it():
    learner = built(HaddpgCfg, EACH)
    batch = learner.replay.sample(10, 1, 0.9)
    batch.alive[:, 0] = 0.0
    before = [literal.parameters(actor) for actor in learner.actors.agents]
    learner.fit_actors(batch)
    assert [literal.moved(old, actor) for old, actor in zip(before, learner.actors.agents)] == [False, True, True]


def test_gradients_are_clipped_if_wanted_and_learning_rates_decay():
    free = built(HaddpgCfg)
    held = built(HaddpgCfg, max_grad_norm=1e-3, lr_decay=True)
    batch = free.replay.sample(10, 1, 0.9)
    assert free.fit_critic(batch)["grad_norm"] > 0.1
    held.fit_critic(batch)
    assert sum(p.grad.square().sum() for p in held.critic.parameters()).sqrt().item() == pytest.approx(1e-3, rel=1e-2)
    held.decay_learning_rates(0.75)
    assert held.critic_optimizer.param_groups[0]["lr"] == pytest.approx(0.005)
    assert held.optimizers[0].param_groups[0]["lr"] == pytest.approx(0.0025)


# Collecting.


@pytest.mark.parametrize("layer_norm", [False, True])
def test_networks_equal_a_literal_row(layer_norm):
    with reference.double_precision():
        learner = built(Hatd3Cfg, layer_norm=layer_norm)
        for net, width in ((learner.actors.agent(1), 7), (learner.critic.nets[1], 12)):  # state 6 and actions 6
            rows = torch.randn(3, width)
            for row, found in zip(rows, net(rows)):
                assert found.tolist() == pytest.approx(literal.row_of(net, row.tolist()), rel=1e-10)


@pytest.mark.parametrize("layer_norm", [False, True])
def test_a_stack_acts_as_its_agents_do(layer_norm):
    learner = built(HaddpgCfg, layer_norm=layer_norm)
    obs = torch.randn(4, 3, 7)
    for i, size in enumerate(THREE.obs_sizes):
        obs[:, i, size:] = 0.0
    action = learner.actors.mode(obs)
    for i, space in enumerate(THREE.actions):
        expected = torch.tanh(learner.actors.agent(i)(obs[:, i, : THREE.obs_sizes[i]]))
        torch.testing.assert_close(action[:, i, : space.size], expected)
        assert (action[:, i, space.size :] == 0.0).all()


def test_exploration_is_noise_of_the_wanted_size_within_the_bounds():
    learner = built(HaddpgCfg, expl_noise=0.05)
    for actor in learner.actors.agents:
        torch.nn.init.zeros_(actor.layers[-1].weight)
        torch.nn.init.zeros_(actor.layers[-1].bias)
    actions = torch.stack([learner.actors.explore(torch.zeros(4, 3, 7)) for _ in range(2000)])
    assert actions[:, :, 0].std().item() == pytest.approx(0.05, rel=0.05) and abs(actions.mean().item()) < 0.01
    torch.nn.init.constant_(learner.actors.agents[0].layers[-1].bias, 5.0)
    assert learner.actors.explore(torch.zeros(4, 3, 7))[:, 0].max() <= 1.0


def test_the_warmup_is_random_and_happens_once():
    env = SumGame(4, torch.device("cpu"))
    learner = HaddpgCfg(**{**SMALL, "expl_noise": 0.0}).learner(env.spec, 0)
    for actor in learner.actors.agents:
        torch.nn.init.constant_(actor.layers[-1].bias, 5.0)  # a policy that is always at its bounds
    step = env.reset(0)
    for _ in range(5):  # warmup_steps 40 in 4 environments, iterations of 2 steps
        step, length = learner.collect(env, step)
        assert length == 2 and learner.update(0.0) == {} and learner.count == 0
    step, length = learner.collect(env, step)
    assert length == 2 and learner.steps_before_update == 0
    batch = learner.replay.n_step_batch(torch.arange(12), torch.zeros(12, dtype=torch.long), 1, 0.9)
    assert (batch.action[0][:2] > 0.99).all() and batch.action[0][2:].std() > 0.3 and batch.action[0].abs().max() <= 1.0
    assert learner.collect(env, step)[1] == 2


@pytest.mark.parametrize("name", CONTINUOUS)
def test_actions_reach_the_environment_in_each_agents_bounds(name):
    """The reference's HASAC took the upper bound for the half-range and zero for the middle."""
    env = SumGame(64, torch.device("cpu"))
    learner = import_object(ALGOS[name])(**{**SMALL, "warmup_steps": 64, "buffer_size": 64000}).learner(env.spec, 0)
    seen = []
    play = env.step
    env.step = lambda actions: seen.append(actions) or play(actions)
    step = env.reset(0)
    for _ in range(10):
        learner.replay.filled = 0
        step, _ = learner.collect(env, step)
    one, two = [torch.cat(each) for each in zip(*seen)]
    assert one.min() < -2.8 and one.max() <= 1.0 and two.min() >= 0.0 and two.max() > 1.9


# Refusals.


@pytest.mark.parametrize(
    "changed, message",
    [
        ({"batch_size": 50}, "batch_size=50 is larger than the algo.warmup_steps=40"),
        ({"warmup_steps": 100}, "warmup_steps=100 is more than algo.buffer_size=60 holds"),
        (
            {"train_interval": 1, "update_per_train": 0.5},
            "update_per_train=0.5 of algo.train_interval=1 is less than one update",
        ),
        ({"replay_dtype": "int8"}, "replay_dtype=int8; possible: float32, float16"),
        ({"replay_device": "gpu"}, "replay_device=gpu; possible: auto, device, host"),
        ({"hidden": []}, "give at least one layer"),
        ({"buffer_size": 3, "warmup_steps": 2, "batch_size": 2}, "buffer_size=3 holds not one step of num_envs=4"),
        ({"n_step": 0}, "n_step=0 must be a number of at least 1"),
        ({"polyak": 2.0}, "polyak=2 must be within 0 and 1"),
    ],
)
def test_settings_that_cannot_run_are_refused(changed, message):
    with pytest.raises(ValueError, match=message):
        HaddpgCfg(**{**SMALL, **changed}).learner(THREE, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_deterministic_algorithms_refuse_choices_by_name(kind):
    spec = reference.spec_for((Box(2), Discrete(4)), (3, 3))
    with pytest.raises(
        ValueError, match=rf"algo={kind().name} needs continuous actions \(Box\); b has Discrete\(n=4\)"
    ):
        kind().learner(spec, 0)


# Runs.


@pytest.mark.parametrize("at", [1, 2, 4])  # in the warmup of 60 steps, at its end, after two updates; 30 an iteration
@pytest.mark.parametrize("name", OFF_POLICY)
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(name, at, settings, tmp_path):
    task = "SumGame" if name in CONTINUOUS else "OppositesGame"
    cfg = settings(task, "algo=" + name, "total_steps=180", "checkpoint.keep_every=1")
    whole, second = whole_and_resumed(cfg, tmp_path, iterations=6, at=at)
    expected = flat(whole.state_dict())
    found = flat(second.state_dict())
    assert expected.keys() == found.keys()
    differ = [
        key
        for key, value in expected.items()
        if not key.startswith("/stats")
        and not (torch.equal(value, found[key]) if torch.is_tensor(value) else value == found[key])
    ]
    assert differ == []


def test_a_run_without_a_saved_replay_fills_one_before_it_goes_on(settings, tmp_path):
    cfg = settings("SumGame", "algo=hatd3", "total_steps=180", "algo.save_replay=false")
    first = Trainer(cfg)
    first.train(tmp_path)
    saved = checkpoint.load(tmp_path / "checkpoints" / "latest.pt")
    assert saved["replay"] is None
    second = Trainer(cfg, saved)
    assert second.learner.replay.filled == 0
    second.learner.actors.random = None  # the policies fill it
    numbers = [second.iterate() for _ in range(3)]
    assert ["critic/loss" in each for each in numbers] == [False, False, True]
    assert second.learner.replay.filled == 15 and second.steps == 180 + 60 + 30


def test_the_warmup_counts_and_is_recorded(settings, tmp_path, capsys):
    """An iteration of 30 steps is written and shown in the warmup of 60 as after it, and is what total_steps ends."""
    words = ["algo=hasac", "log.console=lines", "checkpoint.interval=1"]
    Trainer(settings("SumGame", *words, "total_steps=40")).train(tmp_path / "short")
    output = capsys.readouterr().out
    assert "the first 60 steps fill the replay" in output and "ends before them and learns nothing" in output
    assert "30/40 steps" in output and "60/40 steps" in output and "finished after 2 iterations, 60 steps" in output
    Trainer(settings("SumGame", *words, "total_steps=100")).train(tmp_path / "long")
    assert "learns nothing" not in capsys.readouterr().out
    columns = curves.load(tmp_path / "long")
    assert columns["steps"].tolist() == [30.0, 60.0, 90.0, 120.0]
    assert (columns["episode/count"] == 6).all() and np.isfinite(columns["episode/return"]).all()
    assert np.isnan(columns["critic/loss"]).tolist() == [True, True, False, False]
    assert list(columns)[:2] == ["iteration", "steps"] and np.isfinite(columns["agent/two/alpha"][2:]).all()


def test_a_warmup_in_pieces_leads_to_what_one_in_one_piece_led_to(settings, tmp_path):
    """The environment, chance and the replay are those of random steps until it is over, then the policies' steps."""
    cfg = settings("SumGame", "algo=hatd3", "algo.train_interval=7")
    trainer = Trainer(cfg)
    lengths = []
    while not trainer.learner.count:
        before = trainer.steps
        trainer.iterate()
        lengths.append((trainer.steps - before) // 6)
    assert lengths == [7, 3, 7]
    other = Trainer(cfg)
    learner = other.learner
    packed = ObservationPacker(other.env.spec, learner.actors)
    at_random = lambda step: learner.actors.random(packed(step)[1])  # noqa: E731
    step = explore(other.env, at_random, learner.replay, other.step, 10)
    explore(other.env, lambda step: learner.actors.explore(*packed(step)), learner.replay, step, 7)
    learner.update(0.0)
    expected = flat([learner.state_dict(), learner.replay.state_dict(), other.env.state_dict()])
    found = flat([trainer.learner.state_dict(), trainer.learner.replay.state_dict(), trainer.env.state_dict()])
    assert expected.keys() == found.keys() and all(same(value, found[name]) for name, value in expected.items())


def test_the_best_policy_is_kept_without_its_replay_and_can_be_played(settings, tmp_path):
    cfg = settings("SumGame", "algo=hatd3", "total_steps=120", "eval.interval=1")
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    (tmp_path / "config.yaml").write_text(OmegaConf.to_yaml(OmegaConf.structured(RunCfg(**vars(cfg)))))
    assert checkpoint.load(tmp_path / "checkpoints" / "best.pt")["replay"] is None
    env, actors, file = load_policy(str(tmp_path), 3, "cpu", "auto")
    assert file.name == "best.pt" and 0.0 < evaluate_policy(env, actors, 6, 0).means()["return"] <= 5.0


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.slow) if name in ("haddpg", "maddpg", "matd3") else name
        for name in CONTINUOUS
    ],
)
def test_the_sum_game_is_learned(name, settings, tmp_path):
    """From 2.2 (actions in the middle) to nearly the optimum of 5; learning from others' old actions takes longer."""
    cfg = settings(
        "SumGame",
        "algo=" + name,
        "num_envs=16",
        "total_steps=12000",
        "algo.hidden=[32]",
        "algo.gamma=0.5",
        "algo.warmup_steps=1000",
        "algo.batch_size=128",
        "algo.buffer_size=20000",
        "algo.lr=0.001",
        *(["algo.alpha=0.02", "algo.auto_alpha=false"] if name == "hasac" else []),
    )
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    assert evaluate_policy(SumGame(64, torch.device("cpu")), trainer.learner.actors, 64, 7).means()["return"] > (
        4.6 if name.startswith("ha") else 4.0
    )


@pytest.mark.parametrize("name", ACTOR_CRITIC)
def test_large_batches_are_worked_through_in_parts_with_the_same_result(name, monkeypatch):
    """On the CPU each thread takes parts of its own; chance is drawn for the whole batch before."""

    def updated(rows_in_a_part):
        monkeypatch.setattr(batching, "chunk_rows", lambda width: rows_in_a_part)
        learner = built(import_object(ALGOS[name]), EACH if name in CONTINUOUS else CHOICES)
        torch.manual_seed(7)
        metrics = learner.update(0.0)
        return [*literal.parameters(learner.actors), *literal.parameters(learner.critic)], metrics

    with reference.double_precision():
        (whole, first) = updated(2048)
        (parts, second) = updated(2)
        for one, other in zip(whole, parts):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=1e-7, atol=1e-9)
