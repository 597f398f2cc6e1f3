"""Benchmarks measure what they say, on tiny sizes."""

import dataclasses
import json

import pytest
import torch
from support.commands import run_command

from benchmarks import gpu_check, hands, table3
from benchmarks.__main__ import DEFAULTS, MEASUREMENTS
from benchmarks.clock import Clock, describe, ratios, spread
from benchmarks.engine import engine_controls, engine_seconds, new_engine
from benchmarks.subject import Subject, compose_run
from harl_isaac.algos import ALGOS
from harl_isaac.check_env import random_actions
from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS

CPU = torch.device("cpu")


def subject(**changed):
    run = compose_run({**DEFAULTS, "rollout_length": 5, **changed})
    return Subject(run.task, run.algo, CPU, "auto", repeats=1)


@pytest.mark.parametrize("what", MEASUREMENTS)
@pytest.mark.parametrize("task", ["MatrixGame", "mamujoco/HalfCheetah"])
def test_a_measurement_gives_figures(what, task):
    figures = MEASUREMENTS[what](subject(task=task), 2)
    numbers = [value["median"] if isinstance(value, dict) else value for value in figures.values()]
    assert numbers and min(numbers) > 0
    beside_bare = what == "update" or (what != "train" and task != "MatrixGame")
    assert ("ratio" in figures) == beside_bare


def test_every_hand_task_is_timed_beside_the_hand_over(monkeypatch):
    monkeypatch.setattr(hands, "BLOCK", 1)
    figures = {row["task"]: row for row in hands.hands(Clock(CPU), "auto", num_envs=2, repeats=1)}
    assert set(figures) == {name for name in TASKS if name.startswith("ShadowHand")}
    assert figures["ShadowHandOver"]["cpu_time"]["median"] == 1.0
    assert all(row["steps_per_second"]["median"] > 0 for row in figures.values())


def test_an_off_policy_algorithm_has_no_rollout_to_measure():
    with pytest.raises(ValueError, match="algo=hatd3 has no rollout"):
        MEASUREMENTS["update"](subject(experiment="mamujoco/HalfCheetah-2x3/hatd3"), 2)


def test_the_bare_engine_follows_the_task():
    """From the same state, with the same controls, to the same state."""
    task = subject(task="mamujoco/HalfCheetah")
    env = task.make(2)
    engine = new_engine(task, 2)
    first = env.reset(0)
    actions = [random_actions(env.spec, first, torch.Generator().manual_seed(k)) for k in range(3)]
    controls = list(engine_controls(env, actions))
    engine.load_state_dict(env.physics.state_dict())
    assert engine_seconds(Clock(CPU), engine, controls) > 0
    for action in actions:
        env.step(action)
    qpos = torch.as_tensor(engine.batch.qpos, dtype=torch.float32)
    assert torch.equal(qpos, env.physics.qpos) and qpos.abs().sum() > 0


@pytest.mark.parametrize("algo", ["happo", "mappo"])
def test_the_agents_part_of_an_update_is_timed(algo, monkeypatch):
    monkeypatch.setattr(table3, "NUM_ENVS", 2)
    experiment = table3.Experiment("mamujoco/HalfCheetah", "2x3", algo, Clock(CPU), "auto")
    assert experiment.learner.rollout.length == 200
    whole, agents = experiment.iterate()
    assert 0 < agents < whole


def test_figures_are_told_by_median_lowest_and_highest():
    assert spread([3.0, 1.0, 2.0]) == {"median": 2.0, "lowest": 1.0, "highest": 3.0}
    assert ratios([2.0, 9.0], [1.0, 3.0])["lowest"] == 2.0
    assert describe({"ratio": spread([1.0]), "memory": 0.5}) == "ratio 1 [1, 1], memory 0.5"


def test_the_parts_of_the_gpu_check_are_chosen_in_their_order(tmp_path):
    assert gpu_check.chosen_parts("all") == list(gpu_check.PARTS)
    assert gpu_check.chosen_parts("training,engines") == ["engines", "training"]
    with pytest.raises(ValueError, match="foo is unknown; possible: all, engines, sync"):
        gpu_check.chosen_parts("sync,foo")
    with pytest.raises(ValueError, match="which parts=training writes"):
        gpu_check.trained_actors(tmp_path / "actors.pt")
    (tmp_path / "gpu_check.json").write_text('{"engines_agree": 1, "machine": "old"}')
    report = gpu_check.Report(tmp_path / "gpu_check.json", {"machine": "new"})
    report.add("training", {"steps": 3, "curve": []})
    found = json.loads((tmp_path / "gpu_check.json").read_text())
    assert found == {"engines_agree": 1, "machine": "new", "training": {"steps": 3, "curve": []}}


@pytest.mark.parametrize("task, algo, changed", gpu_check.CASES[-4:])
def test_cases_of_the_gpu_check_run(task, algo, changed, monkeypatch):
    """On the CPU, where no host waits."""
    monkeypatch.setattr(torch.cuda, "set_sync_debug_mode", lambda mode: None)
    settings = [import_object(registry[name])() for registry, name in ((TASKS, task), (ALGOS, algo))]
    settings[1] = dataclasses.replace(settings[1], **changed)
    assert gpu_check.iterates_alone(*settings, CPU, "auto") == {"passed": True}


def test_the_gpu_check_refuses_a_cpu(tmp_path):
    result = run_command("scripts/gpu_check.py", "device=cpu", cwd=tmp_path)
    assert result.returncode == 2 and "device=cpu: this check is for CUDA devices" in result.stderr
