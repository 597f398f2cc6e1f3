"""Recurrent QMIX and VDN: sequences and targets against a walk step by step; memory in collecting; resuming."""

from dataclasses import replace

import pytest
import torch
from support import reference
from support import reference_off_policy as literal
from support import reference_values as plain
from support.resuming import flat, same, whole_and_resumed

import harl_isaac
from harl_isaac.algos.qmix import QmixCfg
from harl_isaac.algos.vdn import VdnCfg
from harl_isaac.buffers.replay import explore
from harl_isaac.env import Discrete, MultiDiscrete
from harl_isaac.learning import batching
from harl_isaac.networks.gru import SequenceStart
from harl_isaac.tasks.games.counting import CountingGame
from harl_isaac.training import checkpoint
from harl_isaac.training.evaluation import Player
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")
KINDS = [VdnCfg, QmixCfg]
SIZES = ((3,), (2, 3), (2,))
SPEC = reference.spec_for(
    (Discrete(3), MultiDiscrete((2, 3)), Discrete(2)), (5, 7, 4), has_action_mask=True, has_alive=True
)
ALIKE = reference.spec_for((Discrete(3),) * 3, (5, 7, 4), has_action_mask=True, has_alive=True)
SMALL = {
    "hidden": [8, 6],
    "buffer_size": 80,
    "warmup_steps": 40,
    "batch_size": 20,
    "chunk_length": 5,
    "burn_in": 3,
    "train_interval": 1,
    "recurrent": True,
    "lr": 0.01,
}


def built(kind, spec=SPEC, **changed):
    """A learner whose replay is full of noise, with ends of episodes of both kinds."""
    learner = literal.scrambled(kind(**{**SMALL, **changed}), spec)
    env = reference.NoiseEnv(spec)
    explore(env, lambda step: learner.explore(step, []), learner.replay, env.step(None), 20)
    return learner


def network_input(actors, i, row):
    """What agent i's network takes at one observation."""
    if not actors.shared:
        return row
    return torch.cat((row, torch.zeros(7 - len(row)), torch.eye(3)[i]))


def walk(actors, i, batch, n, burn_in):
    """Agent i's values at each of sequence n's steps and at its successor, one step after the other, from zeros."""
    network = reference.PlainRecurrentNet(actors.agent(i).net)
    length = len(batch.obs[i]) // len(batch.episode_starts)
    rows = [*batch.earlier[i][n], *batch.obs[i][n * length : (n + 1) * length]]
    following = batch.next_obs[i][n * length : (n + 1) * length]
    hidden = torch.zeros(6)
    now = []
    after = []
    for k, row in enumerate(rows):
        if batch.episode_starts[n, k]:
            hidden = torch.zeros(6)
        value, hidden = network.step(network_input(actors, i, row), hidden)
        if k >= burn_in:
            now.append(value.tolist())
            after.append(network.step(network_input(actors, i, following[k - burn_in]), hidden)[0].tolist())
    return now, after


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [{}, {"burn_in": 0}, {"share_param": True}, {"double_q": False}])
def test_values_and_targets_equal_a_walk_step_by_step(kind, words):
    with reference.double_precision():
        shared = "share_param" in words
        learner = built(kind, ALIKE if shared else SPEC, batch_size=40, **words)
        sizes = ((3,),) * 3 if shared else SIZES
        batch = learner.draw_batch()
        values, _ = learner._values(learner.actors, batch, slice(None))
        target = learner.target(batch)
        assert batch.episode_starts[:, learner.burn_in + 1 :].any() and (batch.discount == 0.0).any()
        for n in range(8):
            online = [walk(learner.actors, i, batch, n, learner.burn_in) for i in range(3)]
            judging = [walk(learner.target_actors, i, batch, n, learner.burn_in)[1] for i in range(3)]
            for k in range(5):
                b = 5 * n + k
                picked = []
                for i in range(3):
                    assert values[i][b].tolist() == pytest.approx(online[i][0][k], rel=1e-8, abs=1e-10)
                    choosing = judging[i][k] if "double_q" in words else online[i][1][k]
                    free = plain.allowed(sizes[i], batch.next_mask[i][b].tolist())
                    picked.append(judging[i][k][plain.best(choosing, free)] * float(batch.next_alive[b, i]))
                after = plain.mixed(learner.target_critic, picked, batch.next_state[b].tolist())
                expected = float(batch.reward[b, 0]) + float(batch.discount[b]) * after
                assert target[b, 0].item() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_the_gradient_goes_through_the_sequence_and_not_through_the_steps_before(kind):
    """The gradient of the loss with regard to what was seen: none before a sequence, some of each step within."""
    with reference.double_precision():
        learner = built(kind)
        batch = learner.draw_batch()
        batch.episode_starts[:] = False
        batch.valid[:] = 0.0
        batch.valid[4::5] = 1.0  # the loss is of the last steps alone
        batch.alive[:] = 1.0
        seen = [*batch.obs, *batch.earlier]
        for value in seen:
            value.requires_grad_()
        own = torch.stack([value.max(1).values for value in learner._values(learner.actors, batch, slice(None))[0]], 1)
        total = (learner.critic(own, batch.state) * batch.valid).sum()
        gradients = torch.autograd.grad(total, seen, allow_unused=True)
        assert all(gradient is None for gradient in gradients[3:])
        assert all((gradient.abs().sum(1) > 0.0).unflatten(0, (-1, 5)).any(0).all() for gradient in gradients[:3])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [{}, {"share_param": True}, {"recurrent": False}])
def test_large_batches_are_worked_through_in_parts_with_the_same_result(kind, words, monkeypatch):
    def updated(rows_in_a_part):
        monkeypatch.setattr(batching, "CPU_CHUNK", rows_in_a_part)
        learner = built(kind, ALIKE, **words)
        torch.manual_seed(7)
        metrics = learner.update(0.0)
        return [*learner.actors.parameters(), *learner.critic.parameters()], metrics

    with reference.double_precision():
        whole, first = updated(2048 * 256)
        parts, second = updated(2)
        for one, other in zip(whole, parts):
            torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)
        for key, value in first.items():
            torch.testing.assert_close(second[key], value, rtol=1e-7, atol=1e-9)


def test_a_policy_remembers_while_collecting_what_its_evaluation_remembers():
    """Through ends of episodes, in the warmup too, whose actions are random: states depend on what is seen alone."""
    env = CountingGame(4, CPU)
    spec = env.spec
    learner = VdnCfg(**{**SMALL, "warmup_steps": 20, "epsilon_start": 0.5}).learner(choices_of(spec), 0)
    reference.scramble(learner.actors)
    player = Player(choices_of(spec), learner.actors)
    steps = []
    play = env.step
    env.step = lambda actions: steps.append(play(tuple(a.float()[:, :1].expand(-1, 2) for a in actions))) or steps[-1]
    step = env.reset(0)
    player.act(step)
    for _ in range(30):
        step, _ = learner.collect(env, step)
        hidden = player.hidden.masked_fill(step.done[:, None, None], 0.0)
        torch.testing.assert_close(learner.hidden, hidden)
        player.act(step)
    assert sum(int(step.done.sum()) for step in steps) > 10 and learner.hidden.abs().sum() > 0.0
    learner.on_episodes_lost()
    assert (learner.hidden == 0.0).all()


def choices_of(spec):
    """The spec of a game, with choices in place of its actions."""
    return replace(spec, actions=(Discrete(2),) * spec.num_agents)


@pytest.mark.parametrize("at", [1, 3])  # in the warmup, and after an update
@pytest.mark.parametrize("words", [["algo=vdn"], ["algo=qmix", "algo.target_interval=7"]])
def test_a_resumed_run_equals_an_uninterrupted_one_bitwise(words, at, settings, tmp_path):
    """Recurrent states, replay, targets and epsilon go on too."""
    more = ["algo.recurrent=true", "algo.chunk_length=4", "algo.burn_in=3", "algo.epsilon_steps=150"]
    cfg = settings("MemoryGame", *words, *more, "total_steps=150", "checkpoint.keep_every=1")
    whole, second = whole_and_resumed(cfg, tmp_path, iterations=5, at=at)
    expected = flat(whole.state_dict())
    found = flat(second.state_dict())
    assert expected.keys() == found.keys() and expected["/learner/hidden"].abs().sum() > 0.0
    different = [key for key, value in expected.items() if not key.startswith("/stats") and not same(value, found[key])]
    assert different == [] and int(found["/learner/steps"]) == 150


def test_a_run_goes_on_with_another_number_of_environments_memories_lost():
    one, other = (VdnCfg(**{**SMALL, "warmup_steps": 80}).learner(spec, 0) for spec in (SPEC, wider(SPEC)))
    other.hidden += 1.0
    other.load_state_dict(one.state_dict())
    assert (other.hidden == 0.0).all()


def wider(spec):
    """The spec with more environments."""
    return replace(spec, num_envs=8)


def test_a_saved_policy_goes_on_from_the_last_epsilon(settings, tmp_path):
    """Its exploring actions are the heads': epsilon_finish."""
    words = ["algo=vdn", "algo.recurrent=true", "algo.chunk_length=4", "algo.epsilon_finish=0.0", "total_steps=60"]
    trainer = Trainer(settings("MemoryGame", *words))
    trainer.train(tmp_path)
    policy = harl_isaac.load_policy(tmp_path / "checkpoints" / "latest.pt")
    twin = harl_isaac.load_policy(tmp_path / "checkpoints" / "latest.pt")
    step = trainer.env.reset(0)
    for _ in range(5):
        one = policy.act(step)
        other = twin.act(step, deterministic=False)
        assert all(torch.equal(a, b) for a, b in zip(one, other))
        step = trainer.env.step(one)
    assert checkpoint.load(tmp_path / "checkpoints" / "latest.pt")["learner"]["steps"] == 60


def test_starts_are_of_all_agents():
    """The state before each agent's sequences is its own."""
    learner = built(VdnCfg)
    obs = [torch.randn(2, 1, size) for size in (5, 7, 4)]
    never = torch.zeros(2, 1, dtype=torch.bool)
    hidden = torch.randn(3, 2, 6)
    values, states = learner.actors.values(obs, SequenceStart(hidden, never))
    packed = learner.actors.empty_obs(2)
    for i, value in enumerate(obs):
        packed[:, i, : value.shape[-1]] = value[:, 0]
    memory = hidden.transpose(0, 1).clone()
    outputs = learner.actors.outputs(packed, memory)
    for i, value in enumerate(values):
        torch.testing.assert_close(outputs[:, i, : value.shape[-1]], value[:, 0], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(memory.transpose(0, 1), states[:, :, 0], rtol=1e-4, atol=1e-5)
