"""algo.kl_target: learning rates that follow how far an update moved each policy."""

import pytest

from harl_isaac.learning.kl_rule import HIGHEST, LOWEST, adapted_rate
from harl_isaac.training.trainer import Trainer
from tests.support.rank_runs import environment

WORDS = ["task=mpe/simple_spread", "algo=happo", "algo.hidden=[16]", "algo.rollout_length=8", "algo.kl_target=0.01"]


@pytest.mark.parametrize(
    "rate, kl, expected",
    [
        (1e-3, 0.021, 1e-3 / 1.5),  # above twice the target
        (1e-3, 0.0199, 1e-3),
        (1e-3, 0.0051, 1e-3),
        (1e-3, 0.0049, 1.5e-3),  # below half of it
        (1e-3, 0.0, 1e-3),  # of a dead agent
        (1e-3, float("nan"), 1e-3),
        (1.2e-5, 1.0, LOWEST),
        (9e-3, 1e-4, HIGHEST),
        (1e-6, 1.0, 1e-6),  # a rate that was given outside stays
        (0.1, 1e-4, 0.1),
    ],
)
def test_rates_stay_or_move_by_half(rate, kl, expected):
    assert adapted_rate(rate, kl, 0.01) == pytest.approx(expected, rel=1e-12)


def trainer_of(*words):
    return Trainer(environment([*WORDS, *words], 12)[1])


def rates_of(trainer):
    return [optimizer.param_groups[0]["lr"] for optimizer in trainer.learner.optimizers]


def test_each_policy_has_a_rate_of_its_own_and_the_critic_keeps_its():
    trainer = trainer_of("algo.lr=0.003", "total_steps=1000000")
    for _ in range(6):
        before = rates_of(trainer)
        numbers = trainer.iterate()
        kls = [numbers[f"agent/agent_{i}/kl"] for i in range(3)]
        assert rates_of(trainer) == [adapted_rate(rate, kl, 0.01) for rate, kl in zip(before, kls)]
        assert rates_of(trainer) == [numbers[f"agent/agent_{i}/lr"] for i in range(3)]
    assert rates_of(trainer) != [0.003] * 3
    critic = trainer.learner.critic.functions[0].optimizer
    assert critic.param_groups[0]["lr"] == pytest.approx(5e-4 * (1 - 5 * 96 / 1e6))  # decays


def test_one_rate_for_a_shared_policy_and_none_for_a_frozen_one():
    shared = trainer_of("algo=mappo", "algo.share_param=true")
    numbers = shared.iterate()
    assert {numbers[f"agent/agent_{i}/lr"] for i in range(3)} == set(rates_of(shared))
    frozen = trainer_of("algo.frozen=[agent_1]")
    assert "agent/agent_1/lr" not in frozen.iterate() and rates_of(frozen)[1] == 3e-4
    assert not any(name.endswith("/lr") for name in trainer_of("algo.kl_target=0").iterate())


def test_a_resumed_run_goes_on_with_its_rates():
    trainer = trainer_of("algo.lr=0.003")
    trainer.iterate()
    trainer.iterate()
    resumed = Trainer(trainer.cfg, trainer.state_dict())
    assert rates_of(resumed) == rates_of(trainer) != [0.003] * 3
