"""Defects of the reference implementation (PKU-MARL/HARL at d539bad) that must not be here: a test for each.

Those of its off-policy side: tests/test_replay.py, test_off_policy.py, test_hasac.py and test_had3qn.py."""

import pytest
import torch
from support import reference

from harl_isaac.algos.happo import HappoCfg
from harl_isaac.env import Box, Discrete, MultiDiscrete
from harl_isaac.networks.distributions import Categoricals
from harl_isaac.networks.value_norm import ValueNormalizer

HEADS = (2, 5, 3)


def learner(spec, **changed):
    torch.manual_seed(0)
    result = HappoCfg(rollout_length=6, hidden=[8], **changed).learner(spec, 0)
    reference.scramble(result.actors)
    reference.fill(result.rollout, result.actors)
    return result


@pytest.mark.parametrize("aggregation", ["prod", "mean"])
def test_a_multidiscrete_actions_ratio_is_not_raised_to_the_number_of_its_heads(aggregation):
    """There one joint log-probability was spread over k columns, whose product is ratio^k."""
    agent = learner(reference.spec_for((MultiDiscrete(HEADS), Discrete(3)), (5, 7)), action_aggregation=aggregation)
    actor = agent.actors.agent(0)
    batch = agent.rollout.agent(0)
    reference.scramble(actor, seed=3, size=0.1)
    head = actor.head(batch.obs)
    ratio = batch.ratio(actor.evaluate_actions(batch.obs, batch.action)[0])
    assert ratio.shape == (24,)
    for b in range(24):
        now = reference.probabilities(head[b].tolist(), HEADS)
        each = [p[int(a)] for p, a in zip(now, batch.action[b])]
        joint = batch.log_prob[b] if aggregation == "prod" else batch.log_prob[b].sum()
        once = each[0] * each[1] * each[2] / joint.exp().item()
        if aggregation == "prod":
            assert ratio[b].item() == pytest.approx(once, rel=1e-4)
            assert ratio[b].item() != pytest.approx(once**3, rel=1e-3) or abs(once - 1.0) < 1e-3
        else:
            assert ratio[b].item() == pytest.approx(
                sum(p / q for p, q in zip(each, batch.log_prob[b].exp().tolist())) / 3, rel=1e-4
            )


def test_entropy_is_a_number_for_each_row_and_weighs_each_row_once():
    """There [B] times [B, 1] gave [B, B]: 4500 columns for 1500 rows and 3 heads."""
    kind = Categoricals(MultiDiscrete(HEADS))
    rows = 1500
    head = torch.randn(rows, sum(HEADS))
    alive = (torch.rand(rows) < 0.5).float()
    entropy = kind.entropy(head, None, None)
    assert entropy.shape == (rows,) and (entropy * alive).shape == (rows,)
    agent = learner(reference.spec_for((MultiDiscrete(HEADS), Discrete(3)), (5, 7), has_alive=True), epochs=1)
    batch = agent.rollout.agent(0)
    actor = agent.actors.agent(0)
    expected = actor.evaluate_actions(batch.obs, batch.action)[1][batch.alive == 1.0].mean().item()
    assert 0 < batch.alive.sum() < 24
    assert agent.update(0.0)["agent/a/entropy"].item() == pytest.approx(expected, rel=1e-4)


def test_the_discrete_divergence_is_weighted_by_the_old_probabilities():
    """There it was not: 0.914 where the truth is 0.0021 (tests/test_hatrpo.py has the figures)."""
    kind = Categoricals(Discrete(3))
    old = torch.tensor([[5.0, 0.0, -5.0]])
    new = torch.tensor([[5.0, 0.3, -4.0]])
    p = old.softmax(-1)
    q = new.softmax(-1)
    wrong = (q / p - 1.0 - (q / p).log()).sum()
    assert kind.kl(old, None, new, None, None).item() == pytest.approx((p * (p / q).log()).sum().item(), rel=1e-3)
    assert wrong > 10.0 * kind.kl(old, None, new, None, None)


def test_the_value_normalizer_is_saved_wherever_it_lives():
    """There `nn.Parameter(...).to(device)` was no parameter off the CPU, and nothing was saved from a GPU."""
    assert sorted(ValueNormalizer(0.99, torch.device("meta")).state_dict()) == ["mean", "mean_square", "weight"]
    moved = ValueNormalizer(0.99, torch.device("cpu")).to("meta")
    assert len(moved.state_dict()) == 3 and all(value.is_meta for value in moved.state_dict().values())


def test_metrics_are_named_by_agent_in_whatever_order_agents_were_updated():
    """There the list in order of updates was written out as agents 0, 1, 2."""
    agent = learner(reference.spec_for((Box(2),) * 3, (5, 5, 5)))
    agent.draw_agent_order = lambda: [2, 0, 1]
    agent.update_agent = lambda i, batch, advantage: {"place": torch.tensor(float(i))}
    metrics = agent.update(0.0)
    assert [metrics[f"agent/{name}/place"].item() for name in "abc"] == [0.0, 1.0, 2.0]


def test_returns_without_lambda_bootstrap_from_the_value_in_units_of_the_return():
    """There the last value was not denormalized: from a true value of 100 nothing was bootstrapped."""
    agent = learner(reference.spec_for((Box(2),), (5,)), gae_lambda=1.0, gamma=0.9, critic_epochs=1)
    rollout = agent.rollout
    function = agent.critic.function
    for _ in range(50):
        function.critic.normalizer.update(torch.tensor([95.0, 105.0]))
    rollout.terminated.zero_()
    rollout.truncated.zero_()
    targets = []
    agent.critic.fit = lambda rollout, old, target: targets.append(target) or {}
    agent.update(0.0)
    last = function.critic(rollout.next_state[-1])[..., 0]
    assert last.mean().item() == pytest.approx(100.0, abs=20.0)
    torch.testing.assert_close(targets[0][-1], rollout.reward[-1] + 0.9 * last)
    assert targets[0][-1].mean() > 60.0
