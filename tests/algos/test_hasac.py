"""HASAC: densities, straight-through samples, target entropies, temperatures against their definitions; an update."""

import copy
import math

import pytest
import torch
from support import reference
from support import reference_off_policy as literal

from harl_isaac.algos.hasac import HasacCfg
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.networks.heads import CategoricalHead, SquashedNormalHead
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.trainer import Trainer

MIXED = reference.spec_for(
    (Box(3), MultiDiscrete((2, 5, 3)), Discrete(4)), (5, 7, 4), has_action_mask=True, has_alive=True
)
SMALL = {
    "hidden": [8, 6],
    "buffer_size": 60,
    "warmup_steps": 40,
    "batch_size": 10,
    "train_interval": 1,
    "lr": 0.01,
    "critic_lr": 0.02,
    "alpha": 0.3,
    "alpha_lr": 0.1,
}


def built(spec=MIXED, **changed):
    return literal.filled(literal.scrambled(HasacCfg(**{**SMALL, **changed}), spec))


def with_fixed_noise(learner, rows):
    """Each agent's chance is the same in every call."""
    fixed = [kind.noise(torch.empty(rows, kind.head_size)) for kind in learner.actors.heads]
    for kind, noise in zip(learner.actors.heads, fixed):
        kind.noise = lambda head, noise=noise: noise
    return fixed


# Networks.


@pytest.mark.parametrize("spaces", [(Box(3), Box(1), Box(2)), (Box(3), Discrete(4), MultiDiscrete((2, 3)))])
def test_the_last_hidden_layer_of_continuous_policies_has_its_own_activation(spaces):
    """relu, then tanh, then the head; those of choices and critics have relu alone. A stack acts as its agents do."""
    spec = reference.spec_for(spaces, (5, 7, 2))
    with reference.double_precision():
        learner = built(spec, last_activation="tanh")
        obs = torch.randn(4, 3, 7)
        outputs = learner.actors.outputs(obs)
        for i, space in enumerate(spaces):
            net = learner.actors.agent(i)
            last = math.tanh if isinstance(space, Box) else None
            for row, output in zip(obs[:, i, : spec.obs_sizes[i]], outputs[:, i, : net.layers[-1].out_features]):
                assert output.tolist() == pytest.approx(literal.row_of(net, row.tolist(), last_activation=last))
        joint = torch.randn(learner.critic.nets[0].layers[0].in_features)
        assert learner.critic.nets[0](joint).tolist() == pytest.approx(
            literal.row_of(learner.critic.nets[0], joint.tolist())
        )


def test_normalized_policies_of_choices():
    """LayerNorms, orthogonal weights (2 of relu in their squares), a head of 0.01, no biases; all others are plain."""
    spec = reference.spec_for((Box(3), Discrete(4), MultiDiscrete((2, 3))), (5, 7, 2))
    learner = HasacCfg(**{**SMALL, "choice_network": "normalized"}).learner(spec, 0)
    continuous, *choices = learner.actors.agents
    for net in (continuous, *learner.critic.nets):
        assert not any(isinstance(norm, torch.nn.LayerNorm) for norm in net.norms) and net.layers[0].bias.any()
    for net in choices:
        assert all(isinstance(norm, torch.nn.LayerNorm) for norm in net.norms) and len(net.norms) == 3
        for layer, square in zip(net.layers, (2.0, 2.0, 1e-4)):
            weight = layer.weight if layer.out_features < layer.in_features else layer.weight.t()
            torch.testing.assert_close(
                weight @ weight.t(), square * torch.eye(len(weight)), rtol=1e-4, atol=1e-8 + square * 1e-5
            )
            assert not layer.bias.any()
    obs = torch.randn(4, 3, 7)
    found = learner.actors.outputs(obs)[0, 1, :4].tolist()
    assert found == pytest.approx(literal.row_of(choices[0], obs[0, 1].tolist()), abs=1e-6)


def test_networks_are_plain_unless_it_is_said():
    plain = HasacCfg(**SMALL).learner(MIXED, 0)
    assert len({tuple(net.activations) for net in plain.actors.agents}) == 1 and plain.actors.fuses
    for changed, message in (
        ({"last_activation": "sine"}, "algo.last_activation=sine; possible: same, relu, tanh"),
        ({"choice_network": "wide"}, "algo.choice_network=wide; possible: plain, normalized"),
    ):
        with pytest.raises(ValueError, match=message):
            HasacCfg(**{**SMALL, **changed}).learner(MIXED, 0)


# Distributions.


def test_the_density_of_a_squashed_normal_is_that_of_its_definition():
    """p(tanh u) = p(u) / (d tanh / du), the slope taken by differences."""
    kind = SquashedNormalHead(Box(2, 0.0, 7.0))  # bounds do not matter: units are half-ranges
    with reference.double_precision():
        head = torch.randn(20, 4) * 0.7
        noise = torch.randn(20, 2)
        action, log_prob = kind.rsample(head, noise)
        for row in range(20):
            expected = 0.0
            h = 1e-5
            for w in range(2):
                mean = head[row, w].item()
                std = math.exp(head[row, 2 + w].item())
                u = mean + std * noise[row, w].item()
                slope = (math.tanh(u + h) - math.tanh(u - h)) / (2.0 * h)
                expected += math.log(reference.density(u, mean, std) / slope)
                assert action[row, w].item() == pytest.approx(math.tanh(u), rel=1e-12)
            assert log_prob[row].item() == pytest.approx(expected, abs=1e-5)


def test_the_squashed_density_sums_to_one_and_is_finite_at_the_bounds():
    kind = SquashedNormalHead(Box(1))
    head = torch.tensor([[0.4, -0.3]], dtype=torch.float64).expand(200001, 2)
    action = torch.linspace(-1.0 + 1e-9, 1.0 - 1e-9, 200001, dtype=torch.float64)
    noise = (torch.atanh(action) - 0.4) / math.exp(-0.3)
    density = kind.rsample(head, noise[:, None])[1].exp()
    assert torch.trapezoid(density, action).item() == pytest.approx(1.0, abs=1e-4)
    for far in (-1e3, 1e3):
        action, log_prob = kind.rsample(torch.tensor([[far, 5.0]]), torch.zeros(1, 1))
        assert torch.isfinite(log_prob).all() and action.abs().item() == 1.0


def test_samples_of_choices_have_the_right_frequencies_and_never_what_is_forbidden():
    kind = CategoricalHead(MultiDiscrete((2, 3)), 0.98)
    logits = torch.tensor([0.3, -0.4, 0.1, 1.2, 0.7])
    mask = torch.tensor([True, True, True, False, True])
    head = logits.expand(40000, 5)
    rows = mask.expand(40000, 5)
    sample, expected = kind.rsample(head, kind.noise(head), rows)
    probabilities = reference.probabilities(logits.tolist(), (2, 3), mask.tolist())
    assert sample.mean(0).tolist() == pytest.approx(sum(probabilities, []), abs=0.01)
    assert (sample[:, 3] == 0.0).all() and torch.equal(sample[:, :2].sum(1), torch.ones(40000))
    assert expected[0].item() == pytest.approx(
        -reference.choices_entropy(logits.tolist(), (2, 3), mask.tolist()), rel=1e-5
    )
    assert torch.equal(kind.encode(kind.mode(head, rows))[0], torch.tensor([1.0, 0.0, 0.0, 0.0, 1.0]))


def test_the_straight_through_gradient_is_that_of_the_softmax():
    """d sample_a / d logit_b = p_a (1[a = b] - p_b) with p the softmax of log-probabilities plus Gumbel noise."""
    kind = CategoricalHead(Discrete(3), 0.98)
    with reference.double_precision():
        head = torch.randn(1, 3, requires_grad=True)
        noise = kind.noise(torch.empty(1, 3))
        sample, _ = kind.rsample(head, noise)
        p = reference.probabilities((head + noise)[0].tolist(), (3,))[0]
        assert sample[0].tolist() == pytest.approx([float(x == max(p)) for x in p])
        for a in range(3):
            found = torch.autograd.grad(sample[0, a], head, retain_graph=True)[0][0].tolist()
            assert found == pytest.approx([p[a] * ((a == b) - p[b]) for b in range(3)])


def test_target_entropies():
    """The reference's were 0 for Discrete and 0.98 log(number of heads) for MultiDiscrete."""
    assert SquashedNormalHead(Box(3)).target_entropy(torch.empty(2, 6)).tolist() == [-3.0, -3.0]
    assert CategoricalHead(Discrete(5), 0.98).target_entropy(torch.empty(1, 5)).item() == pytest.approx(
        0.98 * math.log(5)
    )
    heads = (41, 41, 41, 30)
    whole = CategoricalHead(MultiDiscrete(heads), 0.98).target_entropy(torch.empty(1, sum(heads))).item()
    assert whole == pytest.approx(0.98 * sum(math.log(n) for n in heads)) and whole == pytest.approx(14.25, abs=0.01)
    mask = torch.tensor([[True, False, True, True], [False, True, False, False]])
    masked = CategoricalHead(Discrete(4), 0.5).target_entropy(torch.empty(2, 4), mask).tolist()
    assert masked == pytest.approx([0.5 * math.log(3), 0.0])


# The update.


def literal_draw(learner, i, obs, noise, mask):
    """Agent i's encoded action and log-probability of one row, as lists of numbers."""
    head = literal.row_of(learner.actors.agent(i), obs)
    space = learner.spec.actions[i]
    if isinstance(space, Box):
        total = 0.0
        action = []
        for mean, log_std, z in zip(head[: space.size], head[space.size :], noise):
            std = math.exp(min(max(log_std, -20.0), 2.0))
            action.append(math.tanh(mean + std * z))
            total += math.log(reference.density(mean + std * z, mean, std) / (1.0 - action[-1] ** 2))
        return action, total
    nvec = learner.actors.heads[i].nvec
    start = 0
    action = []
    heads = reference.probabilities(head, nvec, mask)
    for p in heads:
        scores = [math.log(x) + g if x else -math.inf for x, g in zip(p, noise[start : start + len(p)])]
        action += [float(score == max(scores)) for score in scores]
        start += len(p)
    return action, sum(x * math.log(x) for p in heads for x in p if x)


def test_targets_equal_a_literal_loop():
    """y = sum gamma^k r + gamma^n (min_j Q_j'(s', a') - sum_i alpha_i log pi_i) of agents that will be there."""
    with reference.double_precision():
        learner = built()
        learner.log_alpha += torch.tensor([0.0, 0.4, -0.3])
        batch = learner.replay.sample(10, 3, 0.9)
        noise = with_fixed_noise(learner, 10)
        target = learner.target(batch)
        assert not batch.next_alive.all()
        for b in range(10):
            joint = batch.next_state[b].tolist()
            bonus = 0.0
            for i in range(3):
                mask = None if batch.next_mask[i] is None else batch.next_mask[i][b].tolist()
                action, log_prob = literal_draw(learner, i, batch.next_obs[i][b].tolist(), noise[i][b].tolist(), mask)
                joint += action
                bonus -= math.exp(learner.log_alpha[i].item()) * log_prob * float(batch.next_alive[b, i])
            lower = min(literal.row_of(net, joint)[0] for net in learner.target_critic.nets)
            expected = float(batch.reward[b]) + float(batch.discount[b]) * (lower + bonus)
            assert target[b].item() == pytest.approx(expected, rel=1e-9)


def test_an_update_of_the_actors_equals_a_hand_written_chain():
    """Each agent descends alpha log pi - min Q against new samples of those before it and old ones of those after it;
    then its temperature takes a step of Adam down log alpha (entropy - target).
    """
    with reference.double_precision():
        spec = reference.spec_for((Box(3), Box(1, -3.0, 1.0), Box(2)), (5, 7, 2))
        learner = built(spec)
        order = [2, 0, 1]
        batch = learner.replay.sample(10, 1, 0.9)
        noise = with_fixed_noise(learner, 10)
        learner.draw_agent_order = lambda: order
        actors = [literal.PlainNet(net) for net in learner.actors.agents]

        def draw(i):
            mean, log_std = actors[i](batch.obs[i]).chunk(2, 1)
            u = mean + log_std.clamp(-20.0, 2.0).exp() * noise[i]
            normal = -0.5 * noise[i] ** 2 - log_std.clamp(-20.0, 2.0) - 0.5 * math.log(2.0 * math.pi)
            return u.tanh(), (normal - (1.0 - u.tanh() ** 2).log()).sum(1)

        acting = [draw(j)[0].detach() for j in range(3)]
        alphas = []
        for i in order:
            optimizer = torch.optim.Adam(actors[i].parameters(), lr=0.01)
            (own, log_prob) = draw(i)
            joint = torch.cat([batch.state, *[own if j == i else acting[j] for j in range(3)]], 1)
            worth = torch.minimum(*[net(joint) for net in learner.critic.nets])[:, 0]
            reference.stepped(optimizer, (0.3 * log_prob - worth).mean(), 1e9)
            acting[i] = draw(i)[0].detach()
            surplus = -log_prob.mean().item() - -spec.actions[i].size
            alphas.append((i, 0.3 * math.exp(-0.1 * surplus / (abs(surplus) + 1e-8))))  # Adam's first step
        metrics = learner.fit_actors(batch)
        for mine, theirs in zip(learner.actors.agents, actors):
            literal.same(mine, theirs.numbers)
        for i, alpha in alphas:
            assert metrics[i]["alpha"].item() == pytest.approx(alpha) == learner.log_alpha[i].exp().item()


def test_every_kind_of_agent_moves_and_everything_stays_finite():
    learner = built()
    for _ in range(3):
        before = [[p.clone() for p in actor.parameters()] for actor in learner.actors.agents]
        metrics = learner.update(0.0)
        assert all(torch.isfinite(value) and not value.requires_grad for value in metrics.values())
        for old, actor in zip(before, learner.actors.agents):
            assert any(not torch.equal(a, b) for a, b in zip(old, actor.parameters()))


def test_a_temperature_rises_where_entropy_lacks_and_rests_for_absent_agents():
    learner = built()
    for actor, kind in zip(learner.actors.agents, learner.actors.heads):  # certain of everything
        torch.nn.init.zeros_(actor.layers[-1].weight)
        certain = torch.tensor(
            [0.0] * 3 + [-10.0] * 3 if kind.head_size == 6 else [20.0 * (k in (0, 2, 7)) for k in range(kind.head_size)]
        )
        actor.layers[-1].bias.data.copy_(certain)
    batch = learner.replay.sample(10, 1, 0.9)
    batch.mask = [None] * 3
    batch.alive[:, 2] = 0.0
    learner.fit_actors(batch)
    alpha = learner.log_alpha.exp().tolist()
    assert alpha[0] > 0.31 and alpha[1] > 0.31 and alpha[2] == pytest.approx(0.3)
    fixed = built(auto_alpha=False)
    fixed.update(0.0)
    assert fixed.log_alpha.exp().tolist() == pytest.approx([0.3] * 3)


def test_temperatures_are_saved():
    """The reference's were lost with every checkpoint."""
    learner = built()
    for _ in range(3):
        learner.update(0.0)
    other = built()
    other.load_state_dict(copy.deepcopy(learner.state_dict()))
    assert torch.equal(other.log_alpha, learner.log_alpha) and (learner.log_alpha.exp() != 0.3).all()
    batch = learner.replay.sample(10, 1, 0.9)
    for each in (learner, other):
        each.draw_agent_order = lambda: [0, 1, 2]
        torch.manual_seed(3)
        each.fit_actors(batch)
    assert torch.equal(other.log_alpha, learner.log_alpha)


@pytest.mark.parametrize(
    "task, words, least",
    [
        ("MatrixGame", ["task.masks=true", "task.absences=true", "algo.alpha=0.02"], 0.85),
        pytest.param("MixedGame", ["algo.alpha=0.01"], 4.0, marks=pytest.mark.slow),
    ],
)
def test_choices_are_learned(task, words, least, settings, tmp_path):
    """The optimum of the matrix game, whose second agent sits out every fourth episode, is 1; the mixed game's is 5."""
    cfg = settings(
        task,
        "algo=hasac",
        "num_envs=16",
        "total_steps=9000",
        "algo.hidden=[64]",
        "algo.gamma=0.5",
        "algo.warmup_steps=1000",
        "algo.batch_size=128",
        "algo.buffer_size=20000",
        "algo.lr=0.002",
        "algo.auto_alpha=false",
        *words,
    )
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    assert (
        evaluate_policy(cfg.task.make(64, torch.device("cpu"), "auto"), trainer.learner.actors, 64, 7).means()["return"]
        > least
    )
