"""Evaluation plays full episodes, as many in every environment, and states intervals that hold."""

import math

import pytest
import torch

from harl_isaac.networks.actors import StackedActors
from harl_isaac.tasks.games.counting import CountingGame
from harl_isaac.tasks.games.matrix import MatrixGameCfg
from harl_isaac.training.evaluation import evaluate_policy, normal, wilson

CPU = torch.device("cpu")


def test_every_environment_plays_the_same_number_of_episodes():
    env = CountingGame(4, CPU)  # episodes of 3, 4, 5, 6 steps: counting until N were seen would favor the short ones
    result = evaluate_policy(env, StackedActors(env.spec, [8], "relu", 0.01), episodes=10, seed=0)
    lengths = result.values["length"].tolist()
    assert sorted(lengths) == [3.0] * 3 + [4.0] * 3 + [5.0] * 3 + [6.0] * 3
    for length, value in zip(lengths, result.values["return"].tolist()):
        assert value == length * (length - 1) / 2


def test_evaluating_draws_no_random_numbers_and_repeats():
    env = MatrixGameCfg(masks=True).make(4, CPU, "auto")
    actors = StackedActors(env.spec, [8], "relu", 1.0)
    before = torch.get_rng_state()
    first, second = (evaluate_policy(env, actors, 8, seed=3).values["return"] for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)


def test_intervals():
    share, low, high = wilson(torch.tensor([1.0] * 8 + [0.0] * 2))
    assert share == pytest.approx(0.8) and (low, high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    assert wilson(torch.ones(10))[2] == 1.0 and wilson(torch.zeros(10))[1] == 0.0
    mean, low, high = normal(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert (
        mean == 2.5
        and high - mean == pytest.approx(1.96 * math.sqrt(5 / 3) / 2)
        and mean - low == pytest.approx(high - mean)
    )
