"""Runs: resuming equals continuing, records are joined, signals stop a run cleanly, bad input loses nothing."""

import csv
import re
import signal
from pathlib import Path

import pytest
import torch
from support.resuming import flat, same

from harl_isaac.config import differences
from harl_isaac.env import SimulatorError
from harl_isaac.training import checkpoint
from harl_isaac.training.trainer import Trainer


def rows(path):
    return list(csv.DictReader(path.open()))


def without_times(table):
    return [{name: value for name, value in row.items() if not name.startswith("time/")} for row in table]


@pytest.mark.parametrize(
    "task, overrides",
    [
        ("ShadowHandOver", ["algo.minibatches=3", "algo.lr_decay=true", "task.episode_length=7"]),
        ("MixedGame", ["algo.kl_target=0.02"]),
        ("MatrixGame", ["task.masks=true", "task.absences=true", "algo.input_norm=running"]),
    ],
)
def test_two_iterations_and_two_resumed_equal_four_bitwise(settings, tmp_path, task, overrides):
    overrides += ["eval.interval=2", "checkpoint.interval=2", "checkpoint.keep_every=2"]
    cfg = settings(task, "total_steps=120", *overrides)  # 4 iterations of 5 x 6
    whole = Trainer(cfg)
    half = tmp_path / "half"
    whole.train(tmp_path / "whole")
    Trainer(cfg).train(half)  # all four: rows 3 and 4 of its records are to be replaced
    saved = checkpoint.load(half / "checkpoints" / "iteration_000002.pt")
    torch.manual_seed(99)
    second = Trainer(cfg, saved)
    assert second.iteration == 2
    second.train(half)
    expected = flat(whole.state_dict())
    found = flat(second.state_dict())
    assert expected.keys() == found.keys()
    assert [name for name in expected if not same(expected[name], found[name])] == []
    assert without_times(rows(half / "metrics.csv")) == without_times(rows(tmp_path / "whole" / "metrics.csv"))
    assert [row["iteration"] for row in rows(half / "eval.csv")] == ["2", "4"]


def test_a_checkpoint_restores_every_tensor(settings, tmp_path):
    cfg = settings("ShadowHandOver", "total_steps=60")
    trained = Trainer(cfg)
    fresh = Trainer(settings("ShadowHandOver", "total_steps=60", "seed=5"))
    trained.train(tmp_path)
    saved = flat(checkpoint.load(tmp_path / "checkpoints" / "latest.pt")["learner"])
    moved = [
        name
        for name, value in flat(fresh.learner.state_dict()).items()
        if isinstance(value, torch.Tensor) and name in saved and torch.equal(value, saved[name])
    ]
    assert moved == []
    fresh.load_state_dict(checkpoint.load(tmp_path / "checkpoints" / "latest.pt"))
    assert all(same(value, saved[name]) for name, value in flat(fresh.learner.state_dict()).items())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_stops_after_the_iteration_with_a_checkpoint(settings, tmp_path, number):
    trainer = Trainer(settings("MatrixGame", "total_steps=100000"))
    iterate = trainer.iterate

    def interrupted():
        if trainer.iteration == 2:
            signal.raise_signal(number)
        return iterate()

    trainer.iterate = interrupted
    before = signal.getsignal(number)
    trainer.train(tmp_path)
    assert signal.getsignal(number) is before
    assert checkpoint.load(tmp_path / "checkpoints" / "latest.pt")["counters"]["iteration"] == 3
    assert re.search("go on with: .* resume=", trainer.summary({}))


def test_the_best_policy_is_kept(settings, tmp_path):
    trainer = Trainer(settings("MatrixGame", "total_steps=120", "eval.interval=1"))
    trainer.train(tmp_path)
    returns = [float(row["return"]) for row in rows(tmp_path / "eval.csv")]
    best = checkpoint.load(tmp_path / "checkpoints" / "best.pt")["counters"]
    assert best["best"] == max(returns) and best["iteration"] == returns.index(max(returns)) + 1


def test_a_loss_that_is_not_finite_stops_the_run_before_it_is_saved(settings, tmp_path):
    trainer = Trainer(settings("MatrixGame", "total_steps=1000", "checkpoint.interval=1"))
    update = trainer.learner.update

    def poisoned(progress):
        return {**update(progress), **({"actor/loss": torch.tensor(float("nan"))} if trainer.iteration == 3 else {})}

    trainer.learner.update = poisoned
    with pytest.raises(FloatingPointError, match="actor/loss is not finite at iteration 4"):
        trainer.train(tmp_path)
    assert checkpoint.load(tmp_path / "checkpoints" / "latest.pt")["counters"]["iteration"] == 3


def unsaved(trainer):
    """A trainer whose environment cannot be saved: it begins new episodes where another would go on."""
    trainer.env.load_state_dict = lambda state: trainer.env.reset(77)
    return trainer


@pytest.mark.parametrize("algo", ["algo.recurrent=true", "algo=hasac"])
def test_where_a_simulator_cannot_be_saved_new_episodes_begin(settings, tmp_path, algo):
    task, chunk = ("CountingGame", []) if "hasac" in algo else ("MemoryGame", ["algo.chunk_length=5"])
    cfg = settings(task, "total_steps=90", algo, *chunk)
    first = Trainer(cfg)
    first.train(tmp_path)
    saved = checkpoint.load(tmp_path / "checkpoints" / "latest.pt")
    second = unsaved(Trainer(cfg))
    second.load_state_dict(saved)
    begun = second.env.reset(77)
    assert torch.equal(second.step.state, begun.state) and not second.stats.running.any()
    if second.learner.replay is None:
        assert not second.learner.rollout.hidden.any() and saved["learner"]["critics"][0]["hidden"].any()
        assert not second.learner.critic.functions[0].hidden.any()
        return
    replay = second.learner.replay
    ages = torch.zeros(6, dtype=torch.long)
    envs = torch.arange(6)
    batch = replay.n_step_batch(ages, envs, 1, 0.9)
    second.iterate()
    after = replay.n_step_batch(ages + 5, envs, 1, 0.9)  # the same transitions, with the new episodes behind them
    continuing = batch.discount[:, 0] > 0  # the successor of a terminated one has no value
    assert continuing.any() and torch.equal(batch.next_state[continuing], after.next_state[continuing])
    assert torch.equal(batch.discount, after.discount)


def test_a_simulator_that_fails_leaves_a_checkpoint(settings, tmp_path):
    trainer = Trainer(settings("MatrixGame", "total_steps=1000"))
    iterate = trainer.iterate

    def failing():
        if trainer.iteration == 2:
            raise SimulatorError("the game fell over")
        return iterate()

    trainer.iterate = failing
    with pytest.raises(SimulatorError, match="fell over"):
        trainer.train(tmp_path)
    assert checkpoint.load(tmp_path / "checkpoints" / "latest.pt")["counters"]["iteration"] == 2


def test_the_matrix_game_and_the_mixed_game_are_learned(settings, tmp_path):
    matrix = Trainer(settings("MatrixGame", "num_envs=64", "total_steps=20000", "algo.lr=0.003"))
    assert matrix.train(tmp_path / "matrix")["episode/return"] > 0.9
    mixed = Trainer(
        settings(
            "MixedGame",
            "num_envs=64",
            "total_steps=60000",
            "algo.lr=0.003",
            "algo.gamma=0.5",
            "algo.rollout_length=25",
            "algo.hidden=[64]",
        )
    )
    assert mixed.train(tmp_path / "mixed")["episode/return"] > 4.0


def test_a_checkpoint_of_other_sizes_is_refused(settings, tmp_path):
    Trainer(settings("ShadowHandOver", "total_steps=30")).train(tmp_path)
    saved = checkpoint.load(tmp_path / "checkpoints" / "latest.pt")
    with pytest.raises(ValueError, match="num_envs=6, this environment 4"):
        Trainer(settings("ShadowHandOver", "num_envs=4"), saved)
    with pytest.raises(ValueError, match="the checkpoint has agents="):
        Trainer(settings("ShadowHandOver", "task.agents=fingers"), saved)


def first_moments(state):
    """What the first optimizer keeps of its first parameter."""
    learner = state["learner"]
    optimizer = learner["optimizers"][0] if "optimizers" in learner else learner["values"]["optimizer"]
    return optimizer["state"][0]


CHANGES = {
    "step": (lambda state: first_moments(state).update(step=torch.ones(3)), r"an optimizer's step is .*\(3,\)"),
    "shape": (lambda state: first_moments(state).update(exp_avg=torch.ones(3)), "an optimizer's exp_avg is"),
    "moment": (lambda state: first_moments(state).update(exp_avg_sq="x"), "an optimizer's exp_avg_sq is no tensor"),
    "optimizers": (lambda state: state["learner"]["optimizers"].pop(), "[0-9]+ optimizers, [0-9]+ saved"),
    "iteration": (lambda state: state["counters"].update(iteration="a"), "iteration 'a' is no count"),
    "steps": (lambda state: state["counters"].update(steps=-5), "steps -5 is no count"),
    "huge": (lambda state: state["counters"].update(steps=10**30), "steps 10+ is no count"),
    "best": (lambda state: state["counters"].update(best=None), "best None is no number"),
}


@pytest.mark.parametrize("algo", ["happo", "hatd3"])
@pytest.mark.parametrize("kind", list(CHANGES))
def test_counters_and_optimizers_that_are_none_are_refused_when_a_run_is_resumed(kind, algo, settings, tmp_path):
    cfg = settings("SumGame", f"algo={algo}", "total_steps=90")
    trainer = Trainer(cfg)
    trainer.train(tmp_path)
    state = trainer.state_dict()
    Trainer(cfg, state)
    change, message = CHANGES[kind]
    change(state)
    with pytest.raises(ValueError, match=f"file does not fit .*{message}"), checkpoint.damage_named(Path("file")):
        Trainer(cfg, state)


def test_damaged_missing_and_foreign_checkpoints_are_named(tmp_path):
    folder = tmp_path / "checkpoints"
    checkpoint.save(folder / "best.pt", {})
    (folder / "latest.pt").write_bytes(b"PK\x03\x04 not a checkpoint")
    with pytest.raises(ValueError, match="latest.pt is damaged.*best.pt"):
        checkpoint.load(folder / "latest.pt")
    torch.save({"format": 99}, folder / "latest.pt")
    with pytest.raises(ValueError, match="format 99; this version reads formats 2 and 3"):
        checkpoint.load(folder / "latest.pt")
    with pytest.raises(ValueError, match="no run folder or checkpoint at .*nowhere"):
        checkpoint.find(str(tmp_path / "nowhere"))
    with pytest.raises(ValueError, match="holds no checkpoints/latest.pt"):
        checkpoint.find(str(folder))


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), RuntimeError("unexpected pos 64 vs 0"), KeyboardInterrupt()]
)
def test_a_failing_save_leaves_the_last_checkpoint(tmp_path, monkeypatch, error):
    path = tmp_path / "latest.pt"
    checkpoint.save(path, {"number": 1})

    def full(state, file):
        file.write(b"half")
        raise error

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(KeyboardInterrupt if isinstance(error, KeyboardInterrupt) else OSError):
        checkpoint.save(path, {"number": 2})
    monkeypatch.undo()
    assert checkpoint.load(path)["number"] == 1 and [file.name for file in tmp_path.iterdir()] == ["latest.pt"]


def test_differences_name_the_keys_that_matter():
    old = {"seed": 1, "algo": {"lr": 0.1, "clip": 0.2}, "total_steps": 5}
    assert differences(old, {"seed": 1, "algo": {"lr": 0.2, "clip": 0.2}, "total_steps": 9}) == [
        "algo.lr: was 0.1, now 0.2"
    ]
