"""The critic's loss, its normalizer and its fitting against literal versions."""

from types import SimpleNamespace

import pytest
import torch
from support import reference

from harl_isaac.learning import batching, critic_fit
from harl_isaac.learning.batching import minibatches
from harl_isaac.learning.critic_fit import fit_critic
from harl_isaac.learning.gradient import huber, value_loss
from harl_isaac.learning.metrics import explained_variance
from harl_isaac.learning.optimizers import adam
from harl_isaac.networks.critic import new_critic
from harl_isaac.networks.value_norm import ValueNormalizer

CPU = torch.device("cpu")


def settings(**changed):
    return SimpleNamespace(
        **{
            "critic_epochs": 3,
            "critic_minibatches": 2,
            "clip": 0.2,
            "huber_delta": 10.0,
            "value_coef": 1.0,
            "max_grad_norm": 10.0,
            **changed,
        }
    )


def critic_and_batch(rows=12, beta=0.99999):
    """A scrambled critic, states [B, S], old normalized values and targets [B, 1]."""
    torch.manual_seed(0)
    critic = new_critic(6, (16, 12), "relu", CPU, beta=beta)
    reference.scramble(critic)
    state = torch.randn(rows, 6)
    old_value = critic.normalized(state).detach() + 0.3 * torch.randn(rows, 1)
    return critic, state, old_value, 30.0 + 8.0 * torch.randn(rows, 1)


@pytest.mark.parametrize("clip, delta", [(0.2, 10.0), (0.2, 0.5), (1.5, 1.0)])
def test_value_loss_is_the_worse_of_the_free_and_the_clipped_value(clip, delta):
    torch.manual_seed(0)
    value, old_value, target = torch.randn(3, 50, dtype=torch.float64)
    rows = zip(value.tolist(), old_value.tolist(), target.tolist())
    expected = [reference.value_loss(*row, clip, delta) for row in rows]
    result = value_loss(value, old_value, target, clip, delta)
    assert result.tolist() == pytest.approx(expected)
    assert (result > huber(target - value, delta)).any()
    errors = torch.tensor([0.0, -3.0, 9.0, -30.0], dtype=torch.float64)
    assert huber(errors, delta).tolist() == pytest.approx([reference.huber(x, delta) for x in errors.tolist()])


def test_a_value_that_left_the_clip_towards_its_target_gets_no_gradient():
    value = torch.tensor([1.0, 1.0, 0.1], requires_grad=True)
    value_loss(value, torch.zeros(3), torch.tensor([5.0, -5.0, 5.0]), 0.2, 10.0).sum().backward()
    assert value.grad.tolist() == pytest.approx([0.0, 6.0, -4.9])


@pytest.mark.parametrize("beta", [0.99999, 0.9])
def test_normalizer_is_the_debiased_running_mean_and_deviation(beta):
    with reference.double_precision():
        torch.manual_seed(0)
        normalizer = ValueNormalizer(beta, CPU)
        moments = reference.RunningMoments(beta)
        values = torch.randn(5)
        for shift in (100.0, -20.0, 3.0, 3.0):
            batch = shift + 4.0 * torch.randn(3, 4)
            normalizer.update(batch)
            moments.update(batch.flatten())
            mean, std = moments.moments()
            torch.testing.assert_close(normalizer.normalize(values), (values - mean) / std)
            torch.testing.assert_close(normalizer.denormalize(values), values * std + mean)


def test_normalizer_floors_the_deviation_and_is_finite_from_the_start():
    normalizer = ValueNormalizer(0.99999, CPU)
    values = torch.randn(5)
    assert torch.isfinite(normalizer.normalize(values)).all()
    normalizer.update(torch.full((8,), 3.0))
    torch.testing.assert_close(normalizer.normalize(values), (values - 3.0) / 0.1, atol=1e-3, rtol=1e-3)
    torch.testing.assert_close(normalizer.denormalize(normalizer.normalize(values)), values)


def test_normalizer_is_saved_with_the_critic():
    critic, _, _, target = critic_and_batch()
    critic.normalizer.update(target)
    fresh = new_critic(6, (16, 12), "relu", CPU)
    names = ["normalizer.mean", "normalizer.mean_square", "normalizer.weight"]
    assert all(not torch.equal(fresh.state_dict()[name], critic.state_dict()[name]) for name in names)
    fresh.load_state_dict(critic.state_dict())
    assert torch.equal(fresh.normalizer.normalize(target), critic.normalizer.normalize(target))


def test_minibatches_are_random_equal_parts_that_hold_every_row_once():
    torch.manual_seed(0)
    first, second = [torch.stack(list(minibatches(24, 4, CPU))) for _ in range(2)]
    assert first.shape == (4, 6)
    assert first.flatten().sort().values.tolist() == second.flatten().sort().values.tolist() == list(range(24))
    assert not torch.equal(first, second)
    assert torch.arange(24)[next(minibatches(24, 1, CPU))].tolist() == list(range(24))


def test_the_normalizer_takes_in_each_minibatch_once_before_it_is_normalized(monkeypatch):
    critic, state, old_value, target = critic_and_batch()
    calls = []

    def spy(name, method):
        monkeypatch.setattr(critic.normalizer, name, lambda x: calls.append((name, x.numel())) or method(x))

    spy("update", critic.normalizer.update)
    spy("normalize", critic.normalizer.normalize)
    fit_critic(critic, adam(critic.parameters(), 1e-3, 1e-5), state, old_value, target, settings())
    assert [name for name, _ in calls] == ["update", "normalize"] * 6
    assert {size for name, size in calls if name == "update"} == {6}
    assert critic.normalizer.weight.item() == pytest.approx(1.0 - 0.99999**6, rel=1e-2)


@pytest.mark.parametrize("chunk", [4, 1000])
@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"critic_minibatches": 1, "huber_delta": 0.5},
        {"max_grad_norm": 0.1},
        {"value_coef": 0.5, "clip": 1.0, "max_grad_norm": 1.0},
    ],
)
def test_fitting_equals_a_literal_loop(changed, chunk, monkeypatch):
    """Of torch's autograd and Adam alone, over the same minibatches; in pieces or whole."""
    drawn = []
    cfg = settings(**changed)
    monkeypatch.setattr(critic_fit, "minibatches", reference.recording(minibatches, drawn))
    monkeypatch.setattr(batching, "chunk_rows", lambda width: chunk)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    with reference.double_precision():
        critic, state, old_value, target = critic_and_batch(beta=0.9)
        net = reference.PlainNet(critic.net)
        moments = reference.RunningMoments(0.9)
        fit_critic(critic, adam(critic.parameters(), 0.01, 1e-5), state, old_value, target, cfg)
        plain = torch.optim.Adam(net.parameters(), lr=0.01, eps=1e-5)
        reference.fit_critic(net, plain, moments, state, old_value[:, 0], target[:, 0], drawn, cfg)
        assert len(drawn) == 3 * cfg.critic_minibatches
        torch.testing.assert_close(list(critic.parameters()), list(net.parameters()), rtol=1e-7, atol=1e-9)


def test_the_critic_learns_a_linear_target():
    torch.manual_seed(0)
    critic = new_critic(6, (32,), "tanh", CPU)
    optimizer = adam(critic.parameters(), 0.005, 1e-5)
    state = torch.nn.functional.layer_norm(torch.randn(256, 6), (6,))
    target = 50.0 + (state @ torch.arange(1.0, 7.0))[:, None]
    before = explained_variance(critic(state).detach(), target)
    for _ in range(40):
        fit_critic(critic, optimizer, state, critic.normalized(state).detach(), target, settings())
    assert before < 0.5
    assert explained_variance(critic(state).detach(), target) > 0.95
    assert critic(state).mean().item() == pytest.approx(50.0, abs=2.0)
