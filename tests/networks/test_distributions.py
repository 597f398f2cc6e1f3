"""The action distributions against their densities, and what is sampled from them."""

import itertools
import math

import pytest
import torch
from support import reference

from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.networks.distributions import Categoricals, Gaussian, distribution_for, std_of

SPACES = [Discrete(4), MultiDiscrete((2, 5, 3))]


def head_and_mask(kind, rows, masked):
    """Random logits [B, N] and, if wanted, a mask that leaves each head its first choice at least."""
    head = 2.0 * torch.randn(rows, kind.head_size, dtype=torch.float64)
    mask = torch.rand(rows, kind.head_size) < 0.6
    mask[:, [sum(kind.nvec[:place]) for place in range(kind.width)]] = True
    return head, mask if masked else None


def row_of(mask, b):
    return None if mask is None else mask[b].tolist()


def test_sigma_is_bounded_and_starts_at_half_the_sigmoid_of_one():
    log_std = torch.tensor([-30.0, -2.0, 0.0, 1.0, 3.0, 30.0], dtype=torch.float64)
    expected = torch.tensor([reference.sigma(x) for x in log_std.tolist()], dtype=torch.float64)
    torch.testing.assert_close(std_of(log_std), expected)
    assert std_of(torch.tensor(1.0)).item() == pytest.approx(0.5 / (1.0 + math.exp(-1.0)))
    assert std_of(log_std).max() <= 0.5


def test_gaussian_log_prob_and_entropy_follow_from_the_density():
    torch.manual_seed(0)
    kind = Gaussian(Box(3))
    head = torch.randn(7, 3, dtype=torch.float64)
    action = torch.randn(7, 3, dtype=torch.float64)
    log_std = torch.tensor([1.0, -0.5, 2.0], dtype=torch.float64)
    expected = [
        reference.gaussian_log_prob(*row)
        for row in zip(head.tolist(), itertools.repeat(log_std.tolist()), action.tolist())
    ]
    torch.testing.assert_close(kind.log_prob(head, log_std, None, action), torch.tensor(expected, dtype=torch.float64))
    entropy = kind.entropy(head, log_std, None)
    assert entropy.shape == (7,)
    assert entropy.tolist() == pytest.approx([reference.gaussian_entropy(log_std.tolist())] * 7, abs=1e-9)


def test_gaussian_samples_have_the_mean_and_the_sigma_and_carry_their_log_prob():
    torch.manual_seed(0)
    kind = Gaussian(Box(2))
    count = 100000
    head = torch.tensor([0.3, -2.0]).expand(count, 2)
    log_std = torch.tensor([1.0, -1.0])
    action, log_prob = kind.sample(head, log_std, None)
    sigma = torch.tensor([reference.sigma(1.0), reference.sigma(-1.0)])
    error = 5.0 * sigma / math.sqrt(count)
    assert ((action.mean(0) - head[0]).abs() < error).all()
    assert ((action.std(0) - sigma).abs() < error).all()
    assert torch.corrcoef(action.t())[0, 1].abs() < 5.0 / math.sqrt(count)
    torch.testing.assert_close(log_prob, kind.log_prob(head, log_std, None, action), atol=1e-5, rtol=0)
    assert torch.equal(kind.mode(head, None), head)


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("space", SPACES)
def test_choices_have_the_log_prob_and_entropy_of_their_probabilities(space, masked):
    torch.manual_seed(0)
    kind = Categoricals(space)
    head, mask = head_and_mask(kind, 9, masked)
    action = kind.sample(head, None, mask)[0]
    rows = [(head[b].tolist(), kind.nvec, row_of(mask, b)) for b in range(9)]
    log_prob = [
        reference.choices_log_prob(logits, nvec, action[b].tolist(), allowed)
        for b, (logits, nvec, allowed) in enumerate(rows)
    ]
    entropy = kind.entropy(head, None, mask)
    assert entropy.shape == (9,)
    assert entropy.tolist() == pytest.approx([reference.choices_entropy(*row) for row in rows])
    assert kind.log_prob(head, None, mask, action).shape == (9,)
    assert kind.log_prob(head, None, mask, action).tolist() == pytest.approx(log_prob)


@pytest.mark.parametrize("space", SPACES)
def test_probabilities_of_all_joint_choices_add_up_to_one_and_none_is_left_to_the_forbidden(space):
    torch.manual_seed(1)
    kind = Categoricals(space)
    head, mask = head_and_mask(kind, 5, masked=True)
    total = torch.zeros(5, dtype=torch.float64)
    for choice in itertools.product(*[range(n) for n in kind.nvec]):
        places = [sum(kind.nvec[:h]) + c for h, c in enumerate(choice)]
        probability = kind.log_prob(head, None, mask, torch.tensor([choice] * 5, dtype=torch.float64)).exp()
        assert (probability[~mask[:, places].all(1)] == 0.0).all()
        total += probability
    torch.testing.assert_close(total, torch.ones(5, dtype=torch.float64))


@pytest.mark.parametrize("space", SPACES)
def test_choices_are_sampled_as_often_as_probable_and_forbidden_ones_never(space):
    torch.manual_seed(0)
    kind = Categoricals(space)
    count = 40000
    head, mask = head_and_mask(kind, 1, masked=True)
    head[~mask] = 20.0
    action, log_prob = kind.sample(head.expand(count, -1), None, mask.expand(count, -1))
    torch.testing.assert_close(log_prob, kind.log_prob(head.expand(count, -1), None, mask.expand(count, -1), action))
    for place, chances in enumerate(reference.probabilities(head[0].tolist(), kind.nvec, mask[0].tolist())):
        for choice, p in enumerate(chances):
            share = (action[:, place] == choice).double().mean().item()
            assert abs(share - p) <= 5.0 * math.sqrt(p * (1.0 - p) / count)
    likeliest = [
        max(range(len(p)), key=p.__getitem__)
        for p in reference.probabilities(head[0].tolist(), kind.nvec, mask[0].tolist())
    ]
    assert kind.mode(head, mask)[0].tolist() == likeliest


def test_the_heads_of_a_multidiscrete_are_chosen_independently():
    torch.manual_seed(0)
    action = Categoricals(MultiDiscrete((2, 2))).sample(torch.zeros(20000, 4), None, None)[0]
    assert torch.corrcoef(action.t())[0, 1].abs() < 5.0 / math.sqrt(20000)


def test_forbidden_choices_leave_a_finite_gradient_which_does_not_reach_them():
    kind = Categoricals(Discrete(3))
    head = torch.zeros(1, 3, requires_grad=True)
    mask = torch.tensor([[True, True, False]])
    (kind.entropy(head, None, mask) + kind.log_prob(head, None, mask, torch.tensor([[1.0]]))).sum().backward()
    assert head.grad.tolist() == [[-0.5, 0.5, 0.0]]
    assert kind.entropy(head, None, mask).item() == pytest.approx(math.log(2.0))


def test_a_multidiscrete_ratio_is_the_product_of_its_heads_ratios_once():
    torch.manual_seed(0)
    kind = Categoricals(MultiDiscrete((2, 5, 3)))
    before = torch.randn(6, 10, dtype=torch.float64)
    after = torch.randn(6, 10, dtype=torch.float64)
    action = kind.sample(before, None, None)[0]
    ratio = (kind.log_prob(after, None, None, action) - kind.log_prob(before, None, None, action)).exp()
    for b in range(6):
        old, new = [reference.probabilities(logits[b].tolist(), kind.nvec) for logits in (before, after)]
        chosen = action[b].long().tolist()
        assert ratio[b].item() == pytest.approx(math.prod(q[c] / p[c] for p, q, c in zip(old, new, chosen)))


def test_every_space_has_a_distribution_of_its_size():
    sizes = [(kind.head_size, kind.width) for kind in map(distribution_for, [Box(3)] + SPACES)]
    assert sizes == [(3, 3), (4, 1), (10, 3)]
