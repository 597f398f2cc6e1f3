"""HAD3QN: dueling values, the table of joint actions, targets and the sequential update against loops; exploration."""

from itertools import product

import pytest
import torch
from support import reference
from support import reference_off_policy as literal

from harl_isaac.algos.had3qn import Had3qnCfg
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.networks.dueling import DuelingMLP
from harl_isaac.networks.heads import EpsilonGreedyHead
from harl_isaac.networks.off_policy_nets import FeedForward
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.trainer import Trainer

SPACES = (Discrete(3), MultiDiscrete((2, 3)), Discrete(2))
SPEC = reference.spec_for(SPACES, (5, 7, 4), has_action_mask=True, has_alive=True, reward_agents=3)
SIZES = (3, 6, 2)
SMALL = {
    "hidden": [8, 6],
    "buffer_size": 60,
    "warmup_steps": 40,
    "batch_size": 10,
    "train_interval": 1,
    "lr": 0.01,
    "critic_lr": 0.02,
}


def built(spec=SPEC, **changed):
    return literal.filled(literal.scrambled(Had3qnCfg(**{**SMALL, **changed}), spec))


def dueling_row(net, row):
    """V + A - mean A of one row of numbers; of a plain network its output."""
    if isinstance(net, FeedForward):
        return literal.row_of(net, row)

    def hardswish(x):
        return x * min(max(x + 3.0, 0.0), 6.0) / 6.0

    def linear(layer, row):
        return [sum(w * x for w, x in zip(ws, row)) + b for ws, b in zip(layer.weight.tolist(), layer.bias.tolist())]

    row = [max(x, 0.0) for x in literal.row_of(net.base, row)]
    (value,), advantage = [
        linear(stream[1], [hardswish(x) for x in linear(stream[0], row)]) for stream in (net.value, net.advantage)
    ]
    return [value + a - sum(advantage) / len(advantage) for a in advantage]


def combinations(mask):
    """Whether each combination of agent 1's two heads is allowed."""
    return [bool(mask[x] and mask[2 + y]) for x, y in product(range(2), range(3))]


def allowed_of(batch_mask, i, b):
    mask = batch_mask[i][b].tolist()
    return combinations(mask) if i == 1 else mask


def argmax(values, allowed):
    return max((k for k in range(len(values)) if allowed[k]), key=lambda k: values[k])


def joint_place(actions):
    return list(product(*[range(size) for size in SIZES])).index(tuple(actions))


def test_dueling_values_and_the_table_equal_loops():
    with reference.double_precision():
        learner = built()
        x = torch.randn(4, 6)
        table = learner.critic.net(x)
        actions = [torch.tensor([0, 1, 2, 2]), torch.tensor([5, 0, 3, 4]), torch.tensor([1, 1, 0, 1])]
        for b in range(4):
            expected = dueling_row(learner.critic.net, x[b].tolist())
            assert table[b].tolist() == pytest.approx(expected)
            own = [int(a[b]) for a in actions]
            assert learner.critic(learner.joint(x, actions))[0, b, 0].item() == pytest.approx(
                expected[joint_place(own)]
            )
            for i, size in enumerate(SIZES):
                beside = [expected[joint_place(own[:i] + [k] + own[i + 1 :])] for k in range(size)]
                assert learner.critic.agent_q_values(i, table, actions)[b].tolist() == pytest.approx(beside)
        net = DuelingMLP(3, [4], 5, "relu", False, torch.device("cpu"))
        mean = net(torch.ones(1, 3)).mean()
        (first, second) = net.value
        assert mean.item() == pytest.approx(
            second(torch.nn.functional.hardswish(first(net.activation(net.base(torch.ones(1, 3)))))).item()
        )


def test_choices_and_places_are_two_names_of_the_same():
    kind = EpsilonGreedyHead(MultiDiscrete((2, 3)), 0.0)
    for place, digits in enumerate(product(range(2), range(3))):
        head = torch.zeros(1, 6)
        head[0, place] = 1.0
        assert kind.mode(head).tolist() == [[float(d) for d in digits]] and kind.encode(kind.mode(head)).tolist() == [
            place
        ]


@pytest.mark.parametrize("dueling", [True, False])
def test_targets_equal_a_literal_loop(dueling):
    """The choices of the agents' targets among what is allowed, valued by the critic's target."""
    with reference.double_precision():
        learner = built(dueling=dueling)
        kind = DuelingMLP if dueling else FeedForward
        assert all(type(net) is kind for net in (*learner.actors.agents, learner.critic.net, learner.target_critic.net))
        batch = learner.replay.sample(10, 3, 0.9)
        target = learner.target(batch)
        for b in range(10):
            actions = [
                argmax(
                    dueling_row(learner.target_actors.agent(i), batch.next_obs[i][b].tolist()),
                    allowed_of(batch.next_mask, i, b),
                )
                for i in range(3)
            ]
            after = dueling_row(learner.target_critic.net, batch.next_state[b].tolist())[joint_place(actions)]
            expected = sum(batch.reward[b].tolist()) / 3 + float(batch.discount[b]) * after
            assert target[b].item() == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize("dueling", [True, False])
def test_agents_learn_the_critics_values_one_after_the_other(dueling):
    """From greedy choices of all; after an agent's turn the others meet what the critic chooses for it."""
    with reference.double_precision():
        learner = built(dueling=dueling)
        order = [1, 2, 0]
        batch = learner.replay.sample(10, 1, 0.9)
        batch.alive[:] = 1.0
        learner.draw_agent_order = lambda: order
        acting = [
            [
                argmax(dueling_row(learner.actors.agent(i), batch.obs[i][b].tolist()), allowed_of(batch.mask, i, b))
                for b in range(10)
            ]
            for i in range(3)
        ]
        table = [dueling_row(learner.critic.net, row) for row in batch.state.tolist()]
        expected = []
        for i in order:
            loss = 0.0
            for b in range(10):
                own = [acting[j][b] for j in range(3)]
                allowed = allowed_of(batch.mask, i, b)
                goal = [table[b][joint_place(own[:i] + [k] + own[i + 1 :])] for k in range(SIZES[i])]
                value = dueling_row(learner.actors.agent(i), batch.obs[i][b].tolist())
                loss += sum((v - g) ** 2 for v, g, free in zip(value, goal, allowed) if free) / sum(allowed) / 10
                acting[i][b] = argmax(goal, allowed)
            expected.append(loss)
        before = [[p.clone() for p in actor.parameters()] for actor in learner.actors.agents]
        metrics = learner.fit_actors(batch)
        assert [metrics[i]["loss"].item() for i in order] == pytest.approx(expected, rel=1e-9)
        for old, actor in zip(before, learner.actors.agents):
            assert any(not torch.equal(a, b) for a, b in zip(old, actor.parameters()))


def test_every_environment_draws_its_own_lot():
    """The reference drew one for all environments."""
    kind = EpsilonGreedyHead(Discrete(4), 0.3)
    head = torch.tensor([0.0, 0.0, 1.0, 0.0]).expand(20000, 4)
    chosen = kind.sample_exploration(head)[:, 0]
    assert (chosen != 2.0).float().mean().item() == pytest.approx(0.3 * 0.75, abs=0.01)
    shares = chosen.long().bincount(minlength=4) / 20000.0
    assert shares.tolist() == pytest.approx([0.075, 0.075, 0.775, 0.075], abs=0.01)


def test_what_is_forbidden_is_never_chosen():
    """The reference ignored masks in its updates."""
    kind = EpsilonGreedyHead(MultiDiscrete((2, 3)), 0.5)
    mask = torch.tensor([True, False, False, True, True]).expand(5000, 5)
    head = torch.randn(5000, 6)
    for action in (kind.sample_exploration(head, mask), kind.mode(head, mask), kind.random(head, mask)):
        assert (
            (action[:, 0] == 0.0).all() and (action[:, 1] > 0.0).all() and action[:, 1].unique().tolist() == [1.0, 2.0]
        )


def test_what_it_cannot_do_is_refused():
    with pytest.raises(ValueError, match=r"algo=had3qn needs choices \(Discrete, MultiDiscrete\); b has Box"):
        Had3qnCfg(**SMALL).learner(reference.spec_for((Discrete(2), Box(1)), (3, 3)), 0)
    large = reference.spec_for((Discrete(1024), MultiDiscrete((32, 32)), Discrete(2)), (3, 3, 3))
    with pytest.raises(ValueError, match="each of 1024 x 1024 x 2 joint actions, more than 1048576; use algo=hasac"):
        Had3qnCfg(**SMALL).learner(large, 0)


@pytest.mark.parametrize("task, least", [("OppositesGame", 0.99), ("MatrixGame", 7.0 / 11.0 - 0.01)])
def test_equilibria_are_learned(task, least, settings, tmp_path):
    """All equilibria of the first game are optima; of the second, one is 7/11 and the other the optimum of 1."""
    cfg = settings(
        task,
        "algo=had3qn",
        "num_envs=16",
        "total_steps=6000",
        "algo.hidden=[32]",
        "algo.warmup_steps=1000",
        "algo.batch_size=128",
        "algo.buffer_size=20000",
        "algo.lr=0.002",
    )
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    assert (
        evaluate_policy(cfg.task.make(64, torch.device("cpu"), "auto"), trainer.learner.actors, 64, 7).means()["return"]
        > least
    )
