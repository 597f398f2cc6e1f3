"""Evaluation plays full episodes, as many in every environment, changes nothing, and states intervals that hold."""

import math
from dataclasses import replace

import pytest
import torch
from support.resuming import flat, same

from harl_isaac.env import Discrete, EnvSpec, SimulatorError, Step
from harl_isaac.networks.actors import StackedActors
from harl_isaac.tasks.games.base import TensorGame
from harl_isaac.tasks.games.counting import CountingGame
from harl_isaac.tasks.games.matrix import MatrixGameCfg
from harl_isaac.training.evaluation import evaluate_policy, student, t_quantile, wilson
from harl_isaac.training.trainer import EVAL_SEED, Trainer

CPU = torch.device("cpu")
LONGEST = 40


class DrawnLengths(TensorGame):
    """Episodes of 1 to 40 steps, drawn anew, that end either way; their rewards are drawn, and all is written down."""

    def __init__(self, num_envs, longest=LONGEST):
        spaces = (Discrete(2), Discrete(2))
        super().__init__(EnvSpec(num_envs, ("a", "b"), (1, 1), spaces, 1, longest, CPU, metrics=("success",)))
        self.length = torch.zeros(num_envs, dtype=torch.long)
        self.played = [[] for _ in range(num_envs)]  # (return, length, success) of the ended episodes
        self.running = [[0.0, 0] for _ in range(num_envs)]

    def start_episodes(self):
        self.length.copy_(torch.randint(1, LONGEST + 1, self.length.shape, generator=self.random))

    def observe(self):
        ones = torch.ones(self.spec.num_envs, 1)
        return (ones, ones), ones[:, None]

    def step(self, actions):
        reward = torch.rand(self.spec.num_envs, generator=self.random)
        success = (torch.rand(self.spec.num_envs, generator=self.random) > 0.5).float()
        new = torch.randint(1, LONGEST + 1, self.length.shape, generator=self.random)
        self.count += 1
        done = self.count >= self.length
        for e, running in enumerate(self.running):
            running[0] += reward[e].item()
            running[1] += 1
            if done[e]:
                self.played[e].append((running[0], running[1], success[e].item()))
                self.running[e] = [0.0, 0]
        odd = self.length % 2 == 1
        self.length.copy_(torch.where(done, new, self.length))
        self.count.masked_fill_(done, 0)
        obs, state = self.observe()
        return Step(obs, state, reward[:, None], done & odd, done & ~odd, obs, state, {"success": success})


def actors_for(env):
    return StackedActors(env.spec, [8], "relu", 0.01)


def test_every_environment_plays_the_same_number_of_episodes():
    env = CountingGame(4, CPU)  # episodes of 3, 4, 5, 6 steps: counting until N were seen would favor the short ones
    result = evaluate_policy(env, actors_for(env), episodes=10, seed=0)
    lengths = result.values["length"].tolist()
    assert sorted(lengths) == [3.0] * 3 + [4.0] * 3 + [5.0] * 3 + [6.0] * 3
    for length, value in zip(lengths, result.values["return"].tolist()):
        assert value == length * (length - 1) / 2


@pytest.mark.parametrize("num_envs, episodes", [(8, 24), (5, 11), (3, 1), (1, 7), (16, 16)])
def test_the_first_episodes_of_every_environment_count_whatever_their_lengths(num_envs, episodes):
    """A quick environment has played many more when the slowest is done; none of those, and none unfinished, counts."""
    surplus = 0
    for seed in range(5):
        env = DrawnLengths(num_envs)
        result = evaluate_policy(env, actors_for(env), episodes, seed)
        each = -(-episodes // num_envs)
        surplus += sum(len(played) - each for played in env.played)
        expected = [env.played[e][k] for k in range(each) for e in range(num_envs)]
        assert result.episodes == each * num_envs
        for column, name in enumerate(("return", "length", "success")):
            assert result.values[name].tolist() == pytest.approx([row[column] for row in expected], rel=1e-5)
    assert num_envs == 1 or surplus > 0


def test_episodes_that_do_not_end_are_not_taken_for_ended_ones():
    env = DrawnLengths(4, longest=3)
    with pytest.raises(SimulatorError, match="longer than the environment's max_episode_steps=3"):
        evaluate_policy(env, actors_for(env), 8, 0)


def test_evaluating_draws_no_random_numbers_and_repeats():
    env = MatrixGameCfg(masks=True).make(4, CPU, "auto")
    actors = StackedActors(env.spec, [8], "relu", 1.0)
    before = torch.get_rng_state()
    first, second = (evaluate_policy(env, actors, 8, seed=3).values["return"] for _ in range(2))
    assert torch.equal(first, second) and torch.equal(torch.get_rng_state(), before)


def copied(state):
    return {name: value.clone() if torch.is_tensor(value) else value for name, value in flat(state).items()}


@pytest.mark.parametrize(
    "task, words",
    [
        ("MixedGame", ["algo=happo", "algo.input_norm=running"]),
        ("OppositesGame", ["algo=ippo", "algo.input_norm=running", "algo.share_param=true"]),
        ("MemoryGame", ["algo=mappo", "algo.recurrent=true", "algo.chunk_length=5"]),
        ("SumGame", ["algo=hatrpo", "algo.input_norm=running"]),
        ("SumGame", ["algo=hasac"]),
        ("OppositesGame", ["algo=had3qn"]),
        ("MemoryGame", ["algo=qmix", "algo.recurrent=true", "algo.chunk_length=4"]),
    ],
)
def test_evaluating_leaves_the_training_as_it_was(task, words, settings, tmp_path):
    """Networks, running moments of inputs, recurrent states, optimizers, replay, environment, episodes and chance."""
    cfg = settings(task, *words, "total_steps=100")
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    before = copied(trainer.state_dict())
    trainer.evaluate()
    after = flat(trainer.state_dict())
    assert before.keys() == after.keys()
    changed = [name for name, value in before.items() if not same(value, after[name])]
    assert set(changed) <= {"/counters/best"}


def test_evaluation_begins_from_other_episodes_than_training_and_always_from_the_same(settings, tmp_path):
    trainer = Trainer(settings("SumGame", "total_steps=30", "seed=7", "num_envs=6", "eval.episodes=6"))
    first = trainer.env.reset(7).state.clone()
    trainer.train(tmp_path)
    begun = []
    make = trainer.cfg.task.make

    def spied(*args):
        env = make(*args)
        reset = env.reset
        env.reset = lambda seed: begun.append((seed, reset(seed))) or begun[-1][1]
        return env

    trainer.cfg = replace(trainer.cfg, task=replace(trainer.cfg.task))
    trainer.cfg.task.make = spied
    for iteration in (1, 4):
        trainer.iteration = iteration
        trainer.evaluate()
    assert [seed for seed, _ in begun] == [7 + EVAL_SEED] * 2 and EVAL_SEED > 1000
    states = [step.state for _, step in begun]
    assert torch.equal(states[0], states[1]) and not torch.isclose(states[0], first).any()


# Intervals.


def test_intervals_of_shares():
    share, low, high = wilson(torch.tensor([1.0] * 8 + [0.0] * 2))
    assert share == pytest.approx(0.8) and (low, high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )
    assert wilson(torch.ones(10))[2] == 1.0 and wilson(torch.zeros(10))[1] == 0.0


def test_intervals_of_means():
    mean, low, high = student(torch.tensor([1.0, 2.0, 3.0, 4.0]))
    assert mean == 2.5 and high - mean == pytest.approx(3.182446 * math.sqrt(5 / 3) / 2)
    assert mean - low == pytest.approx(high - mean)
    assert student(torch.tensor([3.0])) == (3.0, -math.inf, math.inf)
    assert student(torch.full((5,), 2.0)) == (2.0, 2.0, 2.0)


@pytest.mark.parametrize(
    "degrees, quantile",  # from a table
    [(1, 12.706), (2, 4.303), (3, 3.182), (4, 2.776), (9, 2.262), (10, 2.228), (29, 2.045), (63, 1.998), (319, 1.967)],
)
def test_quantiles_of_student_s_t(degrees, quantile):
    assert t_quantile(degrees) == pytest.approx(quantile, abs=6e-4)


def test_quantiles_fall_to_the_normal_distribution_s_without_a_jump():
    quantiles = [t_quantile(degrees) for degrees in (*range(1, 120), 999, 1000, 1001, 10**6)]
    assert all(next_one < one + 1e-4 for one, next_one in zip(quantiles, quantiles[1:]))
    assert quantiles[-1] == pytest.approx(1.96, abs=1e-4)


@pytest.mark.parametrize("episodes", [2, 3, 5, 10, 64])
def test_intervals_of_means_cover_what_they_say(episodes):
    samples = torch.randn(4000, episodes, generator=torch.Generator().manual_seed(1)) * 3.0 + 1.0
    covered = 0
    for values in samples:
        _, low, high = student(values)
        covered += low <= 1.0 <= high
    assert covered / 4000 == pytest.approx(0.95, abs=0.012)
