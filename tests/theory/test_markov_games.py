"""The theory, exactly: Lemmas 4 and 6, Proposition 9, Theorem 7, Examples 1 and 2, Figure 1 of Zhong et al. (2024)."""

import itertools

import pytest
import torch
from support.commands import run_command
from support.reference_games import LiteralGame, largest_divergence

from harl_isaac.theory import examples
from harl_isaac.theory.markov_games import (
    agent_gain,
    iterate,
    joint_policy_values,
    multi_agent_advantage,
    objective,
    random_games,
    random_policy,
    trust_region,
)
from harl_isaac.training.trainer import Trainer

GAMES = [(2, (2, 3)), (3, (3, 2)), (2, (2, 3, 2))]  # states, actions of each agent
some_games = pytest.mark.parametrize("states, actions", GAMES)


def drawn(states, actions, count=2, seed=0):
    """Random games and two random joint policies."""
    draw = torch.Generator().manual_seed(seed)
    game = random_games(count, states, actions, draw)
    return game, random_policy(game, draw), random_policy(game, draw)


def orders(agents):
    return list(itertools.permutations(range(agents)))


def penalty_of(game, values):
    return [
        4.0 * float(gamma) * float(advantage.abs().max()) / (1.0 - float(gamma)) ** 2
        for gamma, advantage in zip(game.gamma, values.advantage)
    ]


@some_games
def test_values_are_those_of_the_definitions(states, actions):
    game, policy, _ = drawn(states, actions)
    values = joint_policy_values(game, policy)
    for g in range(2):
        literal = LiteralGame(game, policy, g)
        assert values.value[g].tolist() == pytest.approx(literal.value, abs=1e-12)
        assert values.visits[g].tolist() == pytest.approx(literal.visits(), abs=1e-12)
        mean_return = sum(p * v for p, v in zip(literal.start, literal.value))
        assert float(values.mean_return[g]) == pytest.approx(mean_return, abs=1e-12)
        for s, a in itertools.product(literal.states, literal.joint_actions()):
            assert float(values.action_value[(g, s, *a)]) == pytest.approx(literal.q(s, a), abs=1e-12)
            assert float(values.advantage[(g, s, *a)]) == pytest.approx(literal.advantage(s, a), abs=1e-12)


def subsets(agents):
    """Every ordered subset."""
    found = []
    for size in range(1, agents + 1):
        found += itertools.permutations(range(agents), size)
    return found


def at(tensor, g, s, a):
    """The entry of a joint action where axes that do not matter have size 1."""
    return float(tensor[(g, s, *[min(action, size - 1) for action, size in zip(a, tensor.shape[2:])])])


@some_games
def test_lemma_4_the_advantage_of_a_group_is_the_sum_of_its_members(states, actions):
    game, policy, _ = drawn(states, actions)
    q = joint_policy_values(game, policy).action_value
    literal = LiteralGame(game, policy, 1)
    for group in subsets(len(actions)):
        whole = multi_agent_advantage(q, policy, group, ())
        parts = [multi_agent_advantage(q, policy, (i,), group[:m]) for m, i in enumerate(group)]
        torch.testing.assert_close(sum(parts).expand_as(whole), whole, rtol=0.0, atol=1e-12)
        for s, a in itertools.product(literal.states, literal.joint_actions()):
            added = literal.q_of(s, {i: a[i] for i in group}) - literal.value[s]
            assert at(whole, 1, s, a) == pytest.approx(added, abs=1e-12)
            for m, i in enumerate(group):
                assert at(parts[m], 1, s, a) == pytest.approx(literal.advantage_of(s, (i,), group[:m], a), abs=1e-12)


@some_games
def test_proposition_9_ratios_turn_the_joint_advantage_into_an_agents(states, actions):
    game, old, new = drawn(states, actions)
    q = joint_policy_values(game, old).action_value
    literal = LiteralGame(game, old, 0)
    lists = [own[0].tolist() for own in new]
    for group in subsets(len(actions)):
        *before, i = group
        gains = (agent_gain(q, old, new, i, before) * new[i]).sum(-1)[0]
        for s in literal.states:
            left = literal.left_side(s, before, i, lists)
            assert literal.right_side(s, before, i, lists) == pytest.approx(left, abs=1e-12)
            assert float(gains[s]) == pytest.approx(left, abs=1e-12)


@some_games
def test_lemma_6_bounds_the_return_of_any_policy_from_below(states, actions):
    game, old, far = drawn(states, actions, count=8)
    values = joint_policy_values(game, old)
    for mix, order in itertools.product((1.0, 0.1, 0.01), orders(len(actions))):
        new = [(1.0 - mix) * one + mix * other for one, other in zip(old, far)]
        after = joint_policy_values(game, new).mean_return
        for g, penalty in enumerate(penalty_of(game, values)):
            bound = float(values.mean_return[g])
            for m, i in enumerate(order):
                gain = agent_gain(values.action_value, old, new, i, order[:m])[g]
                bound += float((values.visits[g, :, None] * new[i][g] * gain).sum())
                bound -= penalty * largest_divergence(old[i][g].tolist(), new[i][g].tolist())
            assert float(after[g]) >= bound - 1e-12


def test_the_trust_region_step_is_the_argmax():
    """No step from it in any direction is better: enough, as the objective is concave."""
    draw = torch.Generator().manual_seed(0)
    old = torch.rand(6, 3, 4, generator=draw, dtype=torch.float64).softmax(-1)
    gain = torch.randn(6, 3, 4, generator=draw, dtype=torch.float64)
    gain -= (old * gain).sum(-1, keepdim=True)
    penalty = torch.tensor([0.01, 0.3, 1.0, 5.0, 50.0, 2000.0], dtype=torch.float64)
    best = trust_region(old, gain, penalty)
    reached = objective(old, best, gain, penalty)
    assert (reached > 0.0).all()
    for g in range(6):
        expected = float((best[g] * gain[g]).sum() - penalty[g] * largest_divergence(old[g].tolist(), best[g].tolist()))
        assert float(reached[g]) == pytest.approx(expected, rel=1e-9)
    corners = torch.eye(4, dtype=torch.float64)[torch.randint(4, (100, 6, 3), generator=draw)]
    inner = (3.0 * torch.randn(300, 6, 3, 4, generator=draw, dtype=torch.float64)).softmax(-1)
    for size in (1e-1, 1e-2, 1e-3, 1e-4):
        others = (1.0 - size) * best + size * torch.cat((corners, inner))
        assert (objective(old, others, gain, penalty) <= reached * (1.0 + 1e-5)).all()


@pytest.mark.parametrize("penalty", [0.05, 1.0, 40.0])
def test_the_trust_region_step_of_two_actions_solves_its_equation(penalty):
    """It is where the derivative of p g - C KL((q, 1 - q), (p, 1 - p)) is zero."""
    q = 0.3
    g = 0.8
    low = q
    high = 1.0
    for _ in range(100):
        p = (low + high) / 2.0
        low, high = (p, high) if g + penalty * (q / p - (1.0 - q) / (1.0 - p)) > 0.0 else (low, p)
    old = torch.tensor([[[q, 1.0 - q]]]).double()
    gain = torch.tensor([[[g, 0.0]]]).double()
    found = trust_region(old, gain - (old * gain).sum(-1, keepdim=True), torch.tensor([penalty]).double())
    assert float(found[0, 0, 0]) == pytest.approx(low, rel=1e-3)


def test_theorem_7_algorithm_1_never_loses_return():
    changes = examples.theorem_7(games=200, iterations=5, seed=0)
    assert all(change.shape == (5, 200) for change in changes.values())
    rises = changes["Algorithm 1"]
    assert rises.min() >= -1e-12 and (rises > 1e-6).double().mean() > 0.95
    assert changes["best responses, sequential"].min() >= -1e-12
    together = changes["best responses, simultaneous"]
    assert (together < -0.01).any(0).sum() > 50 and (together[0] < -0.01).any()


def test_the_update_of_algorithm_1_gains_what_it_promises():
    """The rise is at least the sum of what the agents' objectives reached, with C from its definition."""
    game, old, _ = drawn(3, (2, 3, 2), count=8)
    values = joint_policy_values(game, old)
    for order in orders(3):
        new = iterate(game, old, order, trust_region)
        rise = joint_policy_values(game, new).mean_return - values.mean_return
        for g, penalty in enumerate(penalty_of(game, values)):
            literal = LiteralGame(game, old, g)
            lists = [own[g].tolist() for own in new]
            for m, i in enumerate(order):
                gain = sum(
                    float(values.visits[g, s]) * literal.left_side(s, order[:m], i, lists) for s in literal.states
                )
                promise = gain - penalty * largest_divergence(literal.policy[i], lists[i])
                assert promise > 0.0
                rise[g] -= promise
        assert (rise >= -1e-12).all()


@pytest.mark.parametrize("first", [0.601, 0.7, 0.9, 0.999])
def test_example_1_simultaneous_best_responses_reach_the_worst_return(first):
    old, simultaneous, sequential = examples.example_1(first)
    assert old == pytest.approx(4.0 * first * (1.0 - first) - (1.0 - first) ** 2)
    assert simultaneous == -1.0 == min(min(row) for row in examples.EXAMPLE_1)
    assert sequential == 2.0 > old > simultaneous


def test_example_1_holds_from_its_limit_on():
    """Up to P(0) = 0.6 both agents prefer action 0, whose return is 0."""
    assert examples.example_1(0.599)[1] == 0.0


@pytest.mark.parametrize("players", [2, 4, 6])
def test_example_2_a_shared_policy_reaches_two_parts_in_two_to_the_n(players):
    shared, first, best = examples.example_2(players)
    assert shared / best == pytest.approx(2.0 / 2**players, rel=1e-12) and first == 0.5 and best == 1.0
    for points in (4, 11):  # the optimum is not among an even number of points
        grid = [k / (points - 1) for k in range(points)]
        expected = max(2.0 * (p * (1.0 - p)) ** (players // 2) for p in grid)
        assert examples.example_2(players, points)[0] == pytest.approx(expected, rel=1e-6)


def test_agents_with_policies_of_their_own_solve_example_2(settings, tmp_path):
    trainer = Trainer(settings("OppositesGame", "num_envs=64", "total_steps=20000", "algo.lr=0.003"))
    assert trainer.train(tmp_path)["episode/return"] > 0.95


def starts(quadrant):
    """A grid of actions in the second or fourth quadrant."""
    grid = torch.linspace(0.2, 3.0, 15, dtype=torch.float64)
    x, y = [part.flatten() for part in torch.meshgrid(grid, grid, indexing="ij")]
    return torch.stack((-x, y) if quadrant == 2 else (x, -y), 1)


@pytest.mark.parametrize("quadrant", [2, 4])
@pytest.mark.parametrize("rate", [0.01, 0.5, 2.5, 5.0, 20.0])
def test_figure_1_sequential_steps_rise_and_large_simultaneous_ones_fall(quadrant, rate):
    """A simultaneous step falls if rate > (a1^2 + a2^2) / -(a1 a2), which is 2 or more; a sequential one never does."""
    start = starts(quadrant)
    before = start.prod(1)
    together, in_turn = [examples.figure_1(start, rate, sequential).prod(1) - before for sequential in (False, True)]
    a1, a2 = start.unbind(1)
    torch.testing.assert_close(together, rate * (a1**2 + a2**2) + rate**2 * a1 * a2)
    assert (in_turn > 0.0).all()
    limit = (a1**2 + a2**2) / (a1 * a2).abs()
    assert (limit >= 2.0).all()
    clear = (limit - rate).abs() > 1e-9
    assert torch.equal((together < 0.0)[clear], (rate > limit)[clear])
    assert (together < 0.0).any() == (rate > 2.0)


def test_figure_1_takes_the_gradients_of_its_game():
    start = torch.tensor([1.5, -1.0], requires_grad=True)
    (step,) = torch.autograd.grad(start.prod(), start)
    torch.testing.assert_close(examples.figure_1(start.detach(), 3.0, False), start.detach() + 3.0 * step)
    first = torch.stack((start[0] + 3.0 * step[0], start[1])).detach().requires_grad_()
    (second,) = torch.autograd.grad(first.prod(), first)
    torch.testing.assert_close(
        examples.figure_1(start.detach(), 3.0, True), first.detach() + 3.0 * second * torch.tensor([0.0, 1.0])
    )


def test_the_script_reports_and_draws(tmp_path):
    pytest.importorskip("matplotlib")
    result = run_command("scripts/theory.py", "out=picture.png", "games=10", "iterations=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "picture.png").read_bytes()[1:4] == b"PNG"
    for line in (
        "after simultaneous best responses -1.00, after sequential ones 2.00",
        "4 agents: return 0.12500",
        "return -1.50; after a simultaneous gradient step -5.25, after a sequential one 8.25",
        "10 random games",
    ):
        assert line in result.stdout
    wrong = run_command("scripts/theory.py", "games=2", cwd=tmp_path)
    assert wrong.returncode == 2 and "games=2 must be within 5 and" in wrong.stderr
