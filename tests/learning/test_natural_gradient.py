"""The natural gradient's parts, each against a dense or literal version in float64."""

import math
from types import SimpleNamespace

import pytest
import torch
from support import reference_trpo

from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.learning import natural_gradient
from harl_isaac.learning.natural_gradient import (
    conjugate_gradient,
    fisher_vector_product,
    flatten,
    line_search,
    trust_region_step,
    unflatten,
)
from harl_isaac.networks.distributions import Categoricals, Gaussian

SPACES = [Discrete(4), MultiDiscrete((2, 5, 3))]
SIZE = 12


def positive_matrix(seed=0):
    torch.manual_seed(seed)
    root = torch.randn(SIZE, SIZE, dtype=torch.float64)
    return root @ root.t() + 0.1 * torch.eye(SIZE, dtype=torch.float64)


def vector(seed=1):
    torch.manual_seed(seed)
    return torch.randn(SIZE, dtype=torch.float64)


def test_the_gaussian_kl_is_the_integral():
    torch.manual_seed(0)
    old_head, head = torch.randn(2, 4, 3, dtype=torch.float64)
    old_log_std, log_std = torch.tensor([[1.0, -0.5, 2.0], [0.4, -0.1, 2.5]], dtype=torch.float64)
    kl = Gaussian(Box(3)).kl(old_head, old_log_std, head, log_std, None)
    expected = [
        reference_trpo.gaussian_kl(p, old_log_std.tolist(), q, log_std.tolist())
        for p, q in zip(old_head.tolist(), head.tolist())
    ]
    assert kl.shape == (4,)
    assert kl.tolist() == pytest.approx(expected, rel=1e-8)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("space", SPACES)
def test_the_kl_of_choices_is_the_sum_over_all_joint_choices(space, masked):
    torch.manual_seed(0)
    kind = Categoricals(space)
    old_head, head = 2.0 * torch.randn(2, 9, kind.head_size, dtype=torch.float64)
    mask = torch.rand(9, kind.head_size) < 0.6
    mask[:, [sum(kind.nvec[:place]) for place in range(kind.width)]] = True
    kl = kind.kl(old_head, None, head, None, mask if masked else None)
    expected = [
        reference_trpo.choices_kl(
            old_head[b].tolist(), head[b].tolist(), kind.nvec, mask[b].tolist() if masked else None
        )
        for b in range(9)
    ]
    assert kl.shape == (9,)
    assert kl.tolist() == pytest.approx(expected)
    assert max(expected) > 0.5


def test_a_rare_choice_counts_as_rarely_as_it_happens():
    """The reference implementation's formula, without p in front, calls this 0.914: 400 times the KL."""
    old_logits, logits = [[math.log(1.0 - p), math.log(p)] for p in (0.0023, 0.0023 * 3.018)]
    kl = Categoricals(Discrete(2)).kl(torch.tensor([old_logits]), None, torch.tensor([logits]), None, None)
    assert reference_trpo.unweighted_choices_kl(old_logits, logits, (2,)) == pytest.approx(0.914, abs=2e-3)
    assert kl.item() == pytest.approx(0.0021, abs=5e-5)


@pytest.mark.parametrize("kind", [Gaussian(Box(3))] + [Categoricals(space) for space in SPACES])
def test_the_kl_of_a_policy_with_itself_is_zero_and_flat(kind):
    torch.manual_seed(0)
    head = torch.randn(5, kind.head_size, requires_grad=True)
    mask = None if isinstance(kind, Gaussian) else torch.arange(kind.head_size).expand(5, -1) != 1
    kl = kind.kl(head.detach(), torch.ones(3), head, torch.ones(3), mask)
    assert kl.abs().max() < 1e-6
    assert torch.autograd.grad(kl.sum(), head)[0].abs().max() < 1e-6


def test_vectors_and_tensors_are_the_same_numbers():
    tensors = [torch.arange(6.0).view(2, 3), torch.tensor(6.0), torch.arange(7.0, 11.0).view(2, 2).t()]
    assert [x.shape for x in unflatten(flatten(tensors), tensors)] == [(2, 3), (), (2, 2)]
    assert all(torch.equal(x, y) for x, y in zip(unflatten(flatten(tensors), tensors), tensors))


def test_the_product_is_with_the_hessian_in_the_parameters_where_the_divergence_is_least():
    """Two outputs, of which one is a parameter itself; twice from the one graph."""
    torch.manual_seed(0)
    sizes = (4, 3)
    inputs = torch.randn(7, 3, dtype=torch.float64)
    start = torch.randn(sum(sizes) + 5, dtype=torch.float64)

    def outputs_of(weight, shift, scale):
        return [torch.tanh(inputs @ weight.view(3, -1)).sum(1, keepdim=True) * shift.exp(), scale]

    shapes = [torch.empty(6), torch.empty(4), torch.empty(2)]
    parameters = [piece.clone().requires_grad_() for piece in unflatten(start, shapes)]
    outputs = outputs_of(*parameters)
    old = [output.detach().clone() for output in outputs]

    def divergence(first, second):
        return (
            (first - old[0]).square().sum() * (1.0 + second.square().sum())
            + (second - old[1]).exp().sum()
            - second.sum()
        )

    product = fisher_vector_product(outputs, parameters, divergence)
    dense = torch.autograd.functional.hessian(lambda v: divergence(*outputs_of(*unflatten(v, shapes))), start)
    for seed in (1, 2):
        v = vector(seed)
        torch.testing.assert_close(product(v), dense @ v)


@pytest.mark.parametrize("seed", range(3))
def test_conjugate_gradient_solves_what_it_is_given_enough_iterations_for(seed, monkeypatch):
    monkeypatch.setattr(natural_gradient, "RESIDUAL", 0.0)
    matrix = positive_matrix(seed)
    target = vector(seed)
    x, missing = conjugate_gradient(lambda v: matrix @ v, target, 3 * SIZE)
    torch.testing.assert_close(x, torch.linalg.solve(matrix, target), rtol=1e-7, atol=1e-9)
    torch.testing.assert_close(target - missing, matrix @ x)


@pytest.mark.parametrize("iterations, scale", [(1, 1.0), (4, 1.0), (10, 1.0), (10, 1e-4), (10, 1e-6), (40, 1.0)])
def test_conjugate_gradient_takes_the_literal_loops_steps_and_stops_with_it(iterations, scale):
    matrix = positive_matrix()
    target = scale * vector()
    calls = []

    def product(v):
        calls.append(v)
        return matrix @ v

    x, missing = conjugate_gradient(product, target, iterations)
    torch.testing.assert_close(x, reference_trpo.conjugate_gradient(matrix, target, iterations), rtol=1e-10, atol=0)
    torch.testing.assert_close(missing, target - matrix @ x, rtol=1e-6, atol=1e-10 * scale)
    assert len(calls) == iterations and x.norm() > 0.0


def test_conjugate_gradient_of_nothing_is_nothing():
    matrix = positive_matrix()
    for product in (lambda v: matrix @ v, torch.zeros_like, torch.neg):
        x, missing = conjugate_gradient(product, torch.zeros(SIZE, dtype=torch.float64), 10)
        assert x.tolist() == missing.tolist() == [0.0] * SIZE
    x, missing = conjugate_gradient(torch.neg, vector(), 10)
    assert x.tolist() == [0.0] * SIZE and torch.equal(missing, vector())


def test_a_step_is_as_long_as_the_quadratic_model_allows():
    matrix = positive_matrix()
    x = vector()
    step = trust_region_step(x, matrix @ x, 0.03)
    assert (0.5 * step @ matrix @ step).item() == pytest.approx(0.03)
    torch.testing.assert_close(step / step.norm(), x / x.norm())
    for image in (-matrix @ x, torch.zeros_like(x), torch.full_like(x, math.nan)):
        assert trust_region_step(x, image, 0.03).tolist() == [0.0] * SIZE


# (improvement, KL) of the trials at 1, 0.5, 0.25, 0.125 of a step whose promise is 1: which is taken
SEARCHES = {
    "at once": ([(0.9, 0.01), (0.5, 0.005), (0.25, 0.001), (0.1, 0.001)], 0),
    "KL": ([(0.9, 0.03), (0.5, 0.021), (0.25, 0.019), (0.1, 0.001)], 2),
    "KL at the bound": ([(0.9, 0.02), (0.5, 0.019), (0.25, 0.001), (0.1, 0.001)], 1),
    "too little of the promise": ([(0.49, 0.01), (0.24, 0.01), (0.126, 0.01), (0.07, 0.01)], 2),
    "gets worse": ([(-0.9, 0.01), (-0.5, 0.01), (-0.01, 0.01), (0.1, 0.01)], 3),
    "good, bad, good": ([(0.9, 0.03), (0.5, 0.01), (-0.5, 0.5), (0.1, 0.001)], 1),
    "not a number": ([(math.nan, 0.01), (0.5, math.nan), (math.inf, math.inf), (0.1, 0.001)], 3),
    "none": ([(0.9, 0.03), (0.1, 0.01), (-0.5, 0.001), (0.06, 0.001)], None),
}


def taken_by(trials, expected):
    """The production search's (fraction, report), and how many trials it made."""
    asked = []

    def trial(fraction):
        asked.append(fraction)
        return torch.tensor([*trials[len(asked) - 1], 7.0 + len(asked)])

    fractions = [0.5**j for j in range(4)]
    fraction, report = line_search(trial, torch.tensor([0.0, 0.0, 7.0]), torch.tensor(expected), 0.02, 0.5, fractions)
    assert asked == fractions
    return fraction.item(), report.tolist()


@pytest.mark.parametrize("name", SEARCHES)
def test_the_line_search_takes_the_first_good_trial_and_reports_it(name):
    trials, j = SEARCHES[name]
    cfg = SimpleNamespace(line_search_steps=4, backtrack_coeff=0.5, kl_threshold=0.02, accept_ratio=0.5)
    improvement, kl = [{0.5**place: trial[part] for place, trial in enumerate(trials)} for part in (0, 1)]
    assert reference_trpo.search(improvement.get, kl.get, 1.0, cfg) == j
    fraction, report = taken_by(trials, 1.0)
    assert fraction == (0.0 if j is None else 0.5**j)
    assert report == pytest.approx([0.0, 0.0, 7.0] if j is None else [*trials[j], 8.0 + j])


def test_a_thousand_searches_decide_as_the_literal_loop():
    stream = torch.Generator().manual_seed(0)
    found = []
    cfg = SimpleNamespace(line_search_steps=4, backtrack_coeff=0.5, kl_threshold=0.02, accept_ratio=0.5)
    for _ in range(1000):
        trials = (
            torch.rand(4, 2, generator=stream).mul(torch.tensor([1.5, 0.04])).sub(torch.tensor([0.5, 0.0])).tolist()
        )
        improvement, kl = [{0.5**place: trial[part] for place, trial in enumerate(trials)} for part in (0, 1)]
        found.append(reference_trpo.search(improvement.get, kl.get, 1.0, cfg))
        assert taken_by(trials, 1.0)[0] == (0.0 if found[-1] is None else 0.5 ** found[-1])
    assert set(found) == {0, 1, 2, 3, None}


@pytest.mark.parametrize("expected", [0.0, -1.0, math.nan])
def test_a_step_that_promises_nothing_is_not_taken(expected):
    for trials in ([(0.0, 0.0)] * 4, [(0.1, 0.001)] * 4):
        assert taken_by(trials, expected) == (0.0, [0.0, 0.0, 7.0])
