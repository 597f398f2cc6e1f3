"""A simulated environment that explodes is contained on both engines: counted, begun anew, and alone in that."""

import importlib.util

import pytest
import torch
from support.mujoco_or_skip import mujoco  # noqa: F401

from harl_isaac.registry import default_settings
from harl_isaac.tasks import TASKS
from harl_isaac.training.trainer import Trainer

assert mujoco
HAS_WARP = all(importlib.util.find_spec(name) for name in ("mujoco_warp", "warp"))
each_engine = pytest.mark.parametrize(
    "sim",
    ["mujoco", pytest.param("mujoco_warp", marks=pytest.mark.skipif(not HAS_WARP, reason="needs mujoco-warp"))],
)
ROW = torch.tensor([False, True, False])


def make(sim):
    return default_settings(TASKS, "mamujoco/HalfCheetah").make(3, torch.device("cpu"), sim)


def poke(env, kind):
    """Make the physics of the second environment explode."""
    physics = env.physics
    qpos = physics.qpos.clone()
    qvel = physics.qvel.clone()
    if kind == "position":
        qpos[1, 0] = float("nan")
    else:
        qvel[1] = float(kind)
    physics.set_state(ROW, qpos, qvel)


def actions(env, value=0.1, row=None):
    drawn = tuple(torch.full((3, space.size), 0.1) for space in env.spec.actions)
    if row is not None:
        for each in drawn:
            each[row] = value
    return drawn


def values(step):
    return (step.state, step.next_state, step.reward, *step.obs, *step.next_obs, *step.metrics.values())


@each_engine
@pytest.mark.parametrize("kind", ["position", "1e7", "1e30", "inf", "nan"])
def test_an_exploding_state_is_counted_and_begun_anew(sim, kind, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file here
    sick = make(sim)
    well = make(sim)
    sick.reset(4)
    well.reset(4)
    poke(sick, kind)
    for number in range(3):
        one = sick.step(actions(sick))
        two = well.step(actions(well))
        assert one.metrics["diverged"].tolist() == [0, float(number == 0), 0]
        assert one.terminated[1] == (number == 0) and (number or one.reward[1] == 0.0)
        assert all(torch.isfinite(value).all() for value in values(one))
        assert torch.equal(one.state[~ROW], two.state[~ROW]) and torch.equal(one.reward[~ROW], two.reward[~ROW])
    assert sick.diverged_count == 1


@each_engine
@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e30])
def test_actions_that_are_not_finite_harm_one_environment(sim, value, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    sick = make(sim)
    well = make(sim)
    sick.reset(4)
    well.reset(4)
    for number in range(4):
        one = sick.step(actions(sick, value, 1 if number == 0 else None))
        two = well.step(actions(well))
        assert torch.equal(one.state[~ROW], two.state[~ROW]) and torch.equal(one.reward[~ROW], two.reward[~ROW])
        assert number == 0 or all(torch.isfinite(value).all() for value in values(one))


def test_training_goes_on_after_an_explosion(settings, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    trainer = Trainer(settings("mamujoco/HalfCheetah", "total_steps=120", "task.episode_length=9"))
    step = trainer.env.physics.step
    calls = []

    def exploding():
        calls.append(1)
        if len(calls) in (3, 12):
            mask = torch.zeros(6, dtype=torch.bool)
            mask[2] = True
            trainer.env.physics.set_state(mask, trainer.env.physics.qpos.clone(), trainer.env.physics.qvel + 1e9)
        step()

    monkeypatch.setattr(trainer.env.physics, "step", exploding)
    numbers = trainer.train(tmp_path / "run")
    assert trainer.iteration == 4 and trainer.env.diverged_count == 2
    assert all(value == value for name, value in numbers.items() if name.startswith(("actor/", "critic/")))
