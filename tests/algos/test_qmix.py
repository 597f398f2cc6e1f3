"""QMIX and VDN: mixer, targets and updates against loops; monotony; the dead; exploration; what is refused."""

from dataclasses import replace
from itertools import product

import pytest
import torch
from support import reference
from support import reference_off_policy as literal
from support import reference_values as plain

from harl_isaac.algos.qmix import QmixCfg
from harl_isaac.algos.vdn import VdnCfg
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.networks.mixers import MonotonicMixer, SumMixer
from harl_isaac.tasks.games.matrix import MatrixGameCfg

CPU = torch.device("cpu")
SPACES = (Discrete(3), MultiDiscrete((2, 3)), Discrete(2))
SIZES = ((3,), (2, 3), (2,))
SPEC = reference.spec_for(
    SPACES, (5, 7, 4), has_action_mask=True, has_alive=True, reward_agents=3, state_agents=3, state_size=2
)
ALIKE = reference.spec_for((Discrete(3),) * 3, (5, 7, 4), has_action_mask=True, has_alive=True)
KINDS = [VdnCfg, QmixCfg]
SMALL = {
    "hidden": [8, 6],
    "buffer_size": 60,
    "warmup_steps": 40,
    "batch_size": 10,
    "train_interval": 1,
    "lr": 0.01,
}


def built(kind, spec=SPEC, **changed):
    return literal.filled(literal.scrambled(kind(**{**SMALL, **changed}), spec))


def mixer(agents=4, state=5, seed=0, size=1.0, state_norm=False):
    made = MonotonicMixer(agents, state, 6, 7, state_norm, CPU)
    reference.scramble(made, seed, size)
    return made


# The mixer.


@pytest.mark.parametrize("state_norm", [False, True])
def test_the_mixer_equals_a_literal_loop(state_norm):
    with reference.double_precision():
        network = mixer(state_norm=state_norm)
        values = 3.0 * torch.randn(20, 4)
        state = torch.randn(20, 5)
        for row, found in enumerate(network(values, state)[:, 0].tolist()):
            expected = plain.mixed(network, values[row].tolist(), state[row].tolist())
            assert found == pytest.approx(expected, rel=1e-10)
        assert SumMixer()(values, state)[:, 0].tolist() == pytest.approx([sum(row) for row in values.tolist()])


@pytest.mark.parametrize("seed", range(5))
def test_the_joint_value_never_falls_where_an_agents_rises(seed):
    """dQ_tot/dQ_i >= 0 by its gradient and by differences, also for large inputs; in some states it rises steeply."""
    with reference.double_precision():
        torch.manual_seed(seed)
        network = mixer(seed=seed, size=2.0)
        values = (10.0 * torch.randn(500, 4)).requires_grad_()
        state = 5.0 * torch.randn(500, 5)
        total = network(values, state)
        (slope,) = torch.autograd.grad(total.sum(), values)
        assert (slope >= 0.0).all() and slope.max() > 1.0
        for i in range(4):
            higher = values.detach().clone()
            higher[:, i] += torch.rand(500)
            assert (network(higher, state) >= total.detach() - 1e-9).all()


def test_the_agents_best_choices_are_the_joint_values_best():
    """For each row, over all 36 joint choices."""
    with reference.double_precision():
        network = mixer(agents=3)
        own = [torch.randn(30, size) for size in (3, 6, 2)]
        state = torch.randn(30, 5)
        joint = list(product(range(3), range(6), range(2)))
        table = torch.stack([network(torch.stack([v[:, c] for v, c in zip(own, each)], 1), state) for each in joint], 1)
        best = [joint[k] for k in table[..., 0].argmax(1).tolist()]
        assert best == [tuple(int(v[row].argmax()) for v in own) for row in range(30)]


# What is fitted to.


def values_of(actors, obs, b):
    """Each agent's values at row b, from its observation alone."""
    if not actors.shared:
        return [plain.agent_row(actors.agent(i), each[b].tolist()) for i, each in enumerate(obs)]
    rows = []
    for i, each in enumerate(obs):
        number = [float(k == i) for k in range(len(obs))] if actors.ids is not None else []
        rows.append(plain.agent_row(actors.agent(i), each[b].tolist() + [0.0] * (7 - each.shape[1]) + number))
    return rows


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("words", [{}, {"double_q": False}])
@pytest.mark.parametrize("shared", [None, True, False])
def test_targets_equal_a_literal_loop(kind, words, shared):
    """The networks choose among what is allowed, their targets value it; the dead count as zero. Three steps."""
    sharing = {} if shared is None else {"share_param": True, "agent_id": shared}
    with reference.double_precision():
        learner = built(kind, SPEC if shared is None else ALIKE, **words, **sharing)
        sizes = SIZES if shared is None else ((3,),) * 3
        batch = learner.replay.sample(20, 3, 0.9)
        target = learner.target(batch)
        assert (batch.next_alive == 0.0).any() and (batch.discount == 0.0).any()
        for b in range(20):
            judging = values_of(learner.target_actors, batch.next_obs, b)
            choosing = judging if words else values_of(learner.actors, batch.next_obs, b)
            picked = []
            for i, (values, others) in enumerate(zip(judging, choosing)):
                mask = batch.next_mask[i][b].tolist()
                picked.append(values[plain.best(others, plain.allowed(sizes[i], mask))] * float(batch.next_alive[b, i]))
            after = plain.mixed(learner.target_critic, picked, batch.next_state[b].tolist())
            reward = sum(batch.reward[b].tolist()) / batch.reward.shape[1]
            assert target[b, 0].item() == pytest.approx(reward + float(batch.discount[b]) * after, rel=1e-9)


def literal_step(learner, batch, target):
    """One step of Adam of all agents and the mixer together, on networks of its own; returns them, and the loss."""
    actors = [reference.PlainNet(actor.net) for actor in learner.actors.agents]
    made = plain.PlainMixer(learner.critic) if list(learner.critic.parameters()) else plain.PlainSum()
    own = []
    for i, obs in enumerate(batch.obs):
        x = obs
        if learner.actors.shared:
            x = torch.cat((obs, torch.zeros(len(obs), 7 - obs.shape[1]), torch.eye(3)[i].expand(len(obs), -1)), 1)
        values = actors[0 if learner.actors.shared else i](x)
        place = learner.actors.heads[i].encode(batch.action[i])
        own.append(torch.stack([values[b, int(place[b])] for b in range(len(obs))]) * batch.alive[:, i])
    error = (made(own, batch.state) - target[:, 0]) * batch.valid[:, 0]
    loss = error.square().sum() / batch.valid.sum()
    numbers = [p for network in (*actors, made) for p in network.parameters()]
    reference.stepped(torch.optim.Adam(numbers, lr=learner.cfg.lr), loss, learner.cfg.max_grad_norm)
    return numbers, loss


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shared", [False, True])
def test_an_update_equals_a_hand_written_step(kind, shared):
    with reference.double_precision():
        words = {"state_norm": shared} if kind is QmixCfg else {}
        learner = built(kind, ALIKE if shared else SPEC, share_param=shared, max_grad_norm=0.5, **words)
        batch = learner.replay.sample(10, 1, 0.9)
        batch.valid[3] = 0.0
        batch.reward[3] = 1e6
        numbers, loss = literal_step(learner, batch, learner.target(batch))
        found = learner.fit(batch)
        assert found["loss"].item() == pytest.approx(loss.item(), rel=1e-9)
        mine = [p for network in (*learner.actors.agents, learner.critic) for p in network.parameters()]
        assert len(mine) == len(numbers)
        for one, other in zip(mine, numbers):
            torch.testing.assert_close(one, other, rtol=1e-7, atol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
def test_targets_follow_softly_or_are_replaced(kind):
    with reference.double_precision():
        soft = built(kind, polyak=0.1)
        before = [literal.parameters(target) for target, _ in soft.targets]
        soft.update(0.0)
        for old, (target, network) in zip(before, soft.targets):
            literal.same(target, literal.followed(old, network.parameters(), 0.1))
        hard = built(kind, target_interval=3)
        history = []
        for _ in range(7):
            before = literal.parameters(hard.target_actors)
            hard.update(0.0)
            same = all(torch.equal(a, b) for a, b in zip(hard.target_actors.parameters(), hard.actors.parameters()))
            history.append((literal.moved(before, hard.target_actors), same))
        assert history == [(k % 3 == 2,) * 2 for k in range(7)]


# Who takes part.


@pytest.mark.parametrize("kind", KINDS)
def test_dead_agents_count_for_nothing(kind):
    """Neither what they see nor what their action field holds changes loss, targets or anybody's step."""
    results = []
    for spoiled in (False, True):
        learner = built(kind)
        batch = learner.replay.sample(10, 1, 0.9)
        batch.alive[:, 1] = 0.0
        batch.next_alive[:, 0] = 0.0
        if spoiled:
            batch.obs[1].normal_()
            batch.action[1].zero_()
            batch.next_obs[0].normal_()
        before = literal.parameters(learner.actors.agent(1))
        found = learner.fit(batch)
        assert not literal.moved(before, learner.actors.agent(1))
        results.append([found["loss"], *literal.parameters(learner.actors), *literal.parameters(learner.critic)])
    assert all(torch.equal(one, other) for one, other in zip(*results))


@pytest.mark.parametrize("kind", KINDS)
def test_frozen_agents_act_and_stay(kind):
    learner = built(kind, frozen=["b"])
    before = [literal.parameters(actor) for actor in learner.actors.agents]
    learner.update(0.0)
    assert [literal.moved(old, actor) for old, actor in zip(before, learner.actors.agents)] == [True, False, True]


@pytest.mark.parametrize("shared", [False, True])
def test_a_stack_acts_as_its_agents_do(shared):
    learner = built(QmixCfg, ALIKE if shared else SPEC, share_param=shared)
    obs = [torch.randn(6, 1, size) for size in (5, 7, 4)]
    packed = learner.actors.empty_obs(6)
    for i, value in enumerate(obs):
        packed[:, i, : value.shape[-1]] = value[:, 0]
    acting = learner.actors.outputs(packed)
    values, _ = learner.actors.values(obs)
    for i, value in enumerate(values):
        torch.testing.assert_close(acting[:, i, : value.shape[-1]], value[:, 0], rtol=1e-4, atol=1e-5)
    action = learner.actors.mode(packed)
    for i, head in enumerate(learner.actors.heads):
        assert torch.equal(head.encode(action[:, i, : head.width]), values[i][:, 0].argmax(1))


def test_the_first_values_are_as_small_as_wanted():
    obs = [torch.randn(50, 1, size) for size in (5, 7, 4)]
    for gain in (0.0, 0.01, 1.0):
        values, _ = VdnCfg(**{**SMALL, "head_gain": gain}).actors(SPEC).values(obs)
        assert all(gain * 0.1 <= value.abs().max().item() <= gain * 5.0 for value in values)


@pytest.mark.parametrize("state_norm", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_the_first_joint_values_are_as_small_as_the_agents(seed, state_norm):
    torch.manual_seed(seed)
    network = MonotonicMixer(4, 30, 32, 64, state_norm, CPU)
    values = (0.01 * torch.randn(200, 4)).requires_grad_()
    joint = network(values, torch.randn(200, 30))
    assert joint.std().item() < 0.05 and joint.abs().max().item() < 0.2
    joint.sum().backward()
    assert values.grad.mean().item() > 0.5  # the agents learn from it all the same


def test_one_network_tells_agents_apart_by_their_numbers_alone():
    obs = [torch.ones(2, 1, 4)] * 3
    spec = reference.spec_for((Discrete(3),) * 3, (4, 4, 4))
    for with_id in (True, False):
        values, _ = built(VdnCfg, spec, share_param=True, agent_id=with_id).actors.values(obs)
        assert torch.equal(values[0], values[1]) != with_id


# Exploration.


def test_epsilon_falls_linearly_over_environment_steps_and_stays():
    env = MatrixGameCfg().make(4, CPU, "auto")
    words = {"epsilon_start": 0.9, "epsilon_finish": 0.1, "epsilon_steps": 100, "train_interval": 5}
    learner = VdnCfg(**{**SMALL, **words}).learner(env.spec, 0)
    step = env.reset(0)
    for iteration in range(8):
        steps = 20 * iteration  # 4 environments, 5 steps each; the warmup counts
        assert learner.epsilon().item() == pytest.approx(max(0.9 - 0.8 * steps / 100.0, 0.1), rel=1e-6)
        step, length = learner.collect(env, step)
        assert length == 5
        found = learner.update(0.0)
    assert found["epsilon"].item() == pytest.approx(0.1)
    other = VdnCfg(**{**SMALL, **words}).learner(env.spec, 0)
    other.load_state_dict(learner.state_dict())
    assert other.epsilon().item() == learner.epsilon().item() and int(other.steps) == 160


def test_every_environment_and_agent_draws_its_own_lot():
    spec = replace(SPEC, num_envs=20000)
    actors = VdnCfg(**{**SMALL, "epsilon_finish": 0.0}).actors(spec)
    obs = torch.zeros(20000, 3, 7)
    best = actors.mode(obs)
    assert torch.equal(actors.explore(obs), best)
    different = (actors.explore(obs, epsilon=torch.tensor(0.3)) != best).any(-1).float()
    shares = [0.3 * (1.0 - 1.0 / size) for size in (3, 6, 2)]
    assert different.mean(0).tolist() == pytest.approx(shares, abs=0.015)
    assert (different[:, 0] * different[:, 1]).mean().item() == pytest.approx(shares[0] * shares[1], abs=0.01)
    assert (different[1:, 0] * different[:-1, 0]).mean().item() == pytest.approx(shares[0] ** 2, abs=0.01)


def test_what_is_forbidden_is_never_chosen():
    learner = built(VdnCfg)
    mask = torch.tensor(
        [[True, False, True, False, False], [True, False, False, True, True], [False, True] + [False] * 3]
    )
    mask = mask.expand(500, 3, 5)
    obs = torch.randn(500, 3, 7)
    for action in (learner.actors.explore(obs, mask, epsilon=0.5), learner.actors.random(500, mask)):
        assert (action[:, 0, 0] != 1.0).all() and (action[:, 1, 0] == 0.0).all()
        assert action[:, 1, 1].unique().tolist() == [1.0, 2.0] and (action[:, 2, 0] == 1.0).all()


# Refusals.


@pytest.mark.parametrize("kind", KINDS)
def test_what_it_cannot_do_is_refused(kind):
    name = kind().name
    with pytest.raises(ValueError, match=rf"algo={name} needs choices \(Discrete, MultiDiscrete\); b has Box"):
        kind(**SMALL).learner(reference.spec_for((Discrete(2), Box(1)), (3, 3)), 0)
    with pytest.raises(ValueError, match="algo.share_param=true needs the same actions for every agent; a has"):
        kind(**SMALL, share_param=True).learner(SPEC, 0)
    with pytest.raises(ValueError, match=r"algo.frozen=\[a\] with algo.share_param=true"):
        kind(**SMALL, share_param=True, frozen=["a"]).learner(ALIKE, 0)
    with pytest.raises(ValueError, match="algo.hidden=.*GiB"):
        kind(**SMALL).learner(reference.spec_for((MultiDiscrete((10**4, 10**4, 10**4)),), (3,)), 0)


@pytest.mark.parametrize(
    "words, message",
    [
        ({"n_step": 3}, "algo.n_step=3 with algo.recurrent=true, which takes single steps; give 1"),
        ({"chunk_length": 4}, "algo.chunk_length=4 does not divide algo.batch_size=10 into whole sequences"),
        (
            {"chunk_length": 10, "warmup_steps": 36},
            "algo.chunk_length=10 is more than the 9 steps of each environment before the first update; "
            "give algo.warmup_steps and algo.buffer_size at least 40",
        ),
    ],
)
def test_sequences_that_cannot_be_drawn_are_refused(words, message):
    with pytest.raises(ValueError, match=message):
        VdnCfg(**{**SMALL, "recurrent": True, **words}).learner(SPEC, 0)
