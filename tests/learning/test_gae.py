"""Advantages and value targets against the discounted sums that define them."""

import pytest
import torch
from support import reference

from harl_isaac.learning.gae import gae, normalize

GAMMA = 0.9


def episodes(value_agents=1, reward_agents=1, length=12, envs=5):
    """Random rewards, values, successors' values and ends of both kinds; float64 [T, E, .]."""
    torch.manual_seed(0)
    reward = torch.randn(length, envs, reward_agents, dtype=torch.float64)
    value, next_value = torch.randn(2, length, envs, value_agents, dtype=torch.float64)
    end = torch.rand(length, envs, 1)
    terminated = end < 0.15
    truncated = end > 0.8
    assert terminated.any() and truncated.any() and not (terminated | truncated).all()
    return reward, value, next_value, terminated, truncated


@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
@pytest.mark.parametrize("value_agents, reward_agents", [(1, 1), (3, 1), (3, 3)])
def test_gae_is_the_sum_of_discounted_deltas_of_one_episode(value_agents, reward_agents, lam):
    data = episodes(value_agents, reward_agents)
    advantage, target = gae(*data, GAMMA, lam)
    expected = reference.advantage(*data, GAMMA, lam)
    torch.testing.assert_close(advantage, expected)
    torch.testing.assert_close(target, expected + data[1])


def test_with_lambda_one_the_target_is_the_discounted_return():
    reward, value, next_value, terminated, truncated = episodes()
    for t, e in torch.cartesian_prod(torch.arange(11), torch.arange(5)).tolist():
        if not terminated[t, e] and not truncated[t, e]:
            next_value[t, e] = value[t + 1, e]
    target = gae(reward, value, next_value, terminated, truncated, GAMMA, 1.0)[1]
    torch.testing.assert_close(target, reference.discounted_return(reward, next_value, terminated, truncated, GAMMA))


@pytest.mark.parametrize("lam", [0.0, 0.95, 1.0])
def test_a_truncated_step_bootstraps_from_its_successor_and_a_terminated_one_does_not(lam):
    """One environment runs on, one is cut off by time after the first step, one is over after it."""
    reward = torch.tensor([1.0, 100.0])
    value = torch.tensor([2.0, 50.0])
    columns = [x[:, None, None].expand(2, 3, 1) for x in (reward, value, torch.tensor([7.0, 70.0]))]
    truncated = torch.tensor([[False, True, False], [False] * 3])[..., None]
    terminated = torch.tensor([[False, False, True], [False] * 3])[..., None]
    advantage = gae(*columns, terminated, truncated, 0.5, lam)[0][0, :, 0].tolist()
    first = 1.0 + 0.5 * 7.0 - 2.0
    later = 100.0 + 0.5 * 70.0 - 50.0
    assert advantage == pytest.approx([first + 0.5 * lam * later, first, 1.0 - 2.0])


def test_rewards_after_an_end_are_not_seen_before_it():
    reward, value, next_value, terminated, truncated = episodes()
    before = gae(reward, value, next_value, terminated, truncated, GAMMA, 0.95)[0]
    for t, e in (terminated | truncated)[:-1, :, 0].nonzero().tolist():
        changed = reward.clone()
        changed[t + 1 :, e] += 1000.0
        after = gae(changed, value, next_value, terminated, truncated, GAMMA, 0.95)[0]
        assert torch.equal(after[: t + 1, e], before[: t + 1, e])


def test_normalized_advantages_have_mean_zero_and_deviation_one_over_living_rows():
    torch.manual_seed(0)
    advantage = 5.0 + 3.0 * torch.randn(40, dtype=torch.float64)
    alive = (torch.rand(40) < 0.6).double()
    result = normalize(advantage, alive)
    expected = reference.normalized(advantage.tolist(), alive.tolist())
    torch.testing.assert_close(result, torch.tensor(expected, dtype=torch.float64))
    living = result[alive == 1.0]
    assert living.mean().abs() < 1e-12
    assert living.std(correction=0).item() == pytest.approx(1.0, abs=1e-5)
    spoilt = torch.where(alive == 1.0, advantage, torch.tensor(1e6, dtype=torch.float64))
    assert torch.equal(normalize(spoilt, alive)[alive == 1.0], living)


@pytest.mark.parametrize("alive", [torch.zeros(4), torch.ones(4), torch.tensor([0.0, 1.0, 0.0, 0.0])])
def test_nobody_alive_or_nothing_to_tell_apart_gives_no_nan(alive):
    result = normalize(torch.full((4,), 3.0), alive)
    assert torch.isfinite(result).all()
    assert (result * alive == 0.0).all()
