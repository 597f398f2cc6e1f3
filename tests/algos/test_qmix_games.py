"""What QMIX and VDN learn: games that one can represent, that neither can, that need masks, or a memory."""

import pytest
import torch

from harl_isaac.tasks.games.matrix import BEST, PAYOFF
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.trainer import Trainer

CPU = torch.device("cpu")
WORDS = [
    "num_envs=16",
    "algo.hidden=[32]",
    "algo.warmup_steps=1000",
    "algo.batch_size=128",
    "algo.buffer_size=20000",
    "algo.lr=0.002",
    "algo.target_interval=100",
]
EVERYTHING = "algo.epsilon_finish=1.0"  # every joint choice equally often, as in the paper's Section 5


def trained(settings, path, task, *words):
    trainer = Trainer(settings(task, *WORDS, *words))
    trainer.train(path)
    return trainer


def score(trainer, task=None):
    env = (task or trainer.cfg.task).make(64, CPU, "auto")
    return evaluate_policy(env, trainer.learner.actors, 64, 7).means()["return"]


def joint_values(learner, obs, state):
    """Q_tot [rows, columns] of two agents' choices at one observation and state."""
    (rows, columns), _ = learner.actors.values([value[None, None] for value in obs])
    size = (rows.shape[-1], columns.shape[-1])
    own = torch.stack(torch.meshgrid(rows[0, 0], columns[0, 0], indexing="ij"), -1).flatten(0, 1)
    return learner.critic(own, state.expand(len(own), -1)).view(size).detach()


@pytest.mark.parametrize("algo, expected", [("qmix", 8.0), ("vdn", 7.0)])
def test_qmix_plays_the_two_step_game_better_than_vdn(algo, expected, settings, tmp_path):
    """Rashid et al. (2018), Section 5.2 and Table 1: QMIX knows all values; VDN's of game 2B are a best sum."""
    trainer = trained(settings, tmp_path, "TwoStepGame", "algo=" + algo, "total_steps=14000", EVERYTHING)
    assert score(trainer) == expected
    games = torch.eye(3)
    for game, table in ((1, [[7.0, 7.0], [7.0, 7.0]]), (2, [[0.0, 1.0], [1.0, 8.0]])):
        if algo == "vdn" and game == 2:
            table = [[-1.5, 2.5], [2.5, 6.5]]
        found = joint_values(trainer.learner, [games[game], games[game]], games[game])
        torch.testing.assert_close(found, torch.tensor(table), atol=0.3, rtol=0.0)


def learned_table(settings, path, algo):
    """Q_tot of the matrix game, whose best column depends on the row, after training with all choices."""
    trainer = trained(settings, path, "MatrixGame", "algo=" + algo, "total_steps=14000", EVERYTHING)
    one = torch.ones(1)
    return BEST * joint_values(trainer.learner, [one, one], one), score(trainer)


def test_vdn_learns_the_best_sum_of_the_matrix_game(settings, tmp_path):
    """By least squares: row mean + column mean - mean. Its best choices are then row 1, column 0, which pay nothing."""
    payoff = torch.tensor(PAYOFF)
    found, reward = learned_table(settings, tmp_path, "vdn")
    best = payoff.mean(1, keepdim=True) + payoff.mean(0) - payoff.mean()
    torch.testing.assert_close(found, best, atol=0.5, rtol=0.0)
    assert reward == 0.0


def test_qmix_cannot_represent_the_matrix_game_either(settings, tmp_path):
    """Q_tot rises with each agent's value, so one row is above the other in all columns.

    The payoffs of the rows differ by 11, -7 and -6: with the first row above, the last two columns are fitted by their
    means at best, with the second row above the first column is.
    """
    found, _ = learned_table(settings, tmp_path, "qmix")
    payoff = torch.tensor(PAYOFF)
    above = found[0] - found[1]
    assert (above >= -1e-4).all() or (above <= 1e-4).all()
    least = min(2 * 3.5**2 + 2 * 3.0**2, 2 * 5.5**2)
    assert float((found - payoff).square().sum()) >= least
    assert found.mean().item() == pytest.approx(payoff.mean().item(), abs=1.5)


@pytest.mark.parametrize("algo", ["vdn", "qmix"])
def test_a_game_with_masks_and_absences_is_learned(algo, settings, tmp_path):
    """The best that can be had is 1 in every episode; what is forbidden is never chosen, who is absent never blamed."""
    words = ["task.masks=true", "task.absences=true", "algo.epsilon_steps=8000", "total_steps=14000"]
    assert score(trained(settings, tmp_path, "MatrixGame", "algo=" + algo, *words)) > 0.99


@pytest.mark.parametrize("algo", ["vdn", "qmix"])
def test_opposites_are_learned_by_networks_of_their_own(algo, settings, tmp_path):
    words = ["algo=" + algo, "algo.epsilon_steps=6000", "total_steps=10000"]
    assert score(trained(settings, tmp_path, "OppositesGame", *words)) == 1.0


RECURRENT = ["algo.recurrent=true", "algo.chunk_length=4", "algo.burn_in=4", "algo.epsilon_steps=8000"]


@pytest.mark.parametrize("algo", ["qmix", pytest.param("vdn", marks=pytest.mark.slow)])
def test_what_was_seen_is_remembered(algo, settings, tmp_path):
    """Without a memory the memory game pays 0.417."""
    words = ["algo=" + algo, *RECURRENT, "total_steps=16000", "algo.update_per_train=0.5"]
    assert score(trained(settings, tmp_path, "MemoryGame", *words)) > 0.95
