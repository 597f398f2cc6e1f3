"""Benchmarks measure what they say, on tiny sizes."""

import dataclasses
import json

import pytest
import torch
from support.commands import run_command

from benchmarks import collect, gpu_check, hands, peers, step, table3, update
from benchmarks.__main__ import DEFAULTS, MEASUREMENTS
from benchmarks.clock import Clock, describe, ratios, spread
from benchmarks.engine import engine_controls, engine_cost, new_engine
from benchmarks.subject import Subject, compose_run
from harl_isaac.algos import ALGOS
from harl_isaac.check_env import random_actions
from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS
from harl_isaac.training.episode_stats import EpisodeStats

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
    assert ("ratio" in figures) == ("cpu_ratio" in figures) == beside_bare


def test_the_engine_takes_its_turn_after_every_block(monkeypatch):
    """From the state that each block began with, with the controls of its steps."""
    followed = []

    def follow(clock, engine, controls):
        cost = engine_cost(clock, engine, controls)
        followed.append((torch.as_tensor(engine.batch.qpos, dtype=torch.float32), len(controls)))
        return cost

    ends = []

    class Stats(EpisodeStats):
        def __call__(self, last):
            super().__call__(last)
            ends.append(last.next_state.clone())

    monkeypatch.setattr(collect, "engine_cost", follow)
    monkeypatch.setattr(collect, "EpisodeStats", Stats)
    task = subject(task="mamujoco/HalfCheetah")
    task.task = dataclasses.replace(task.task, episode_length=2 * step.BLOCK)  # so that a block begins with a reset
    collect.collect_ratio(task, 2)
    assert len(ends) == 2 * step.STEPS
    assert [steps for _, steps in followed] == [step.BLOCK] * (len(ends) // step.BLOCK)
    for (qpos, _), state in zip(followed, ends[step.BLOCK - 1 :: step.BLOCK]):
        assert torch.allclose(qpos[:, 1:], state[:, 0, :8], atol=1e-6)  # all but the distance run


@pytest.mark.parametrize("parts", [1, 5])
def test_the_bare_loops_take_turns_with_an_update(parts):
    """Their epochs come evenly between its gradient steps, and the update is what it is alone."""
    task = subject(task="MatrixGame")
    env = task.make(2)
    learners = [task.on_policy_learner(env.spec, minibatches=parts, critic_minibatches=parts) for _ in range(2)]
    learners[1].load_state_dict(learners[0].state_dict())
    for learner in learners:
        torch.manual_seed(0)
        learner.collect(env, env.reset(0))
    loops = update.bare_loops(task, env.spec, learners[0].rollout)
    turns = update.LoopTurns(Clock(CPU), loops, steps=15 * parts)  # two policies and the critic, 5 epochs each
    done_at = []
    turns.epochs = [lambda: done_at.append(turns.step)] * len(turns.epochs)
    torch.manual_seed(1)
    update.update_cost(Clock(CPU), learners[0], turns)
    assert done_at == [parts * (k + 1) for k in range(15)]
    torch.manual_seed(1)
    learners[1].update(0.0)
    assert all(map(torch.equal, learners[0].actors.parameters(), learners[1].actors.parameters()))


def test_peers_that_are_not_installed_are_named(monkeypatch, capsys):
    monkeypatch.setattr(peers, "PEERS", {"no_such_package": peers.rl_games_pairings})
    assert list(peers.peers(Clock(CPU), "auto", repeats=1)) == []
    assert capsys.readouterr().out == "no_such_package is not installed\n"


def test_both_sides_of_a_peer_train(monkeypatch):
    monkeypatch.setattr(peers, "NUM_ENVS", 2)
    monkeypatch.setattr(peers, "TURNS", 1)
    rows = list(peers.peers(Clock(CPU), "auto", repeats=1))
    assert [row["pairing"] for row in rows] == ["one agent", "two agents of one policy"]
    assert all(row["cpu_ratio"]["median"] > 0 for row in rows)


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
    assert engine_cost(Clock(CPU), engine, controls).cpu > 0
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
