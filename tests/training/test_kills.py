"""Runs that are killed at random moments lose nothing, leave nothing behind, and resume bit by bit.

HARL_KILLS is the number of kills of the long form, HARL_KILLS_SEED draws others.
"""

import csv
import os
import random
from functools import lru_cache

import pytest
import torch
from support.commands import run
from support.killing import PHASES, Moment, moments, nothing_left, start
from support.resuming import flat, same

from harl_isaac.cli.train import STOPPED

SHARED = [
    "device=cpu", "num_envs=2", "checkpoint.interval=1", "eval.interval=3", "eval.episodes=2", "log.console=none",
    "total_steps=80",
]  # fmt: skip
ON_POLICY = [
    "algo=happo", "algo.rollout_length=5", "algo.hidden=[8]", "algo.epochs=2", "algo.critic_epochs=2", *SHARED,
]  # fmt: skip
REPLAY = [
    "algo=hatd3", "algo.hidden=[8]", "algo.train_interval=5", "algo.warmup_steps=20", "algo.batch_size=8",
    "algo.buffer_size=60", "algo.save_replay=true", "task.episode_length=9", *SHARED,
]  # fmt: skip
CASES = {  # eight iterations each
    "game": ["task=SumGame", *ON_POLICY],
    "replay": ["task=mpe/simple_spread", *REPLAY],
    "workers": ["task=pettingzoo", "task.workers=2", "task.max_steps=7", *ON_POLICY],
    "body": ["task=mamujoco/HalfCheetah", "task.agents=2x3", "task.episode_length=9", *ON_POLICY],
    "hands": ["task=ShadowHandOver", "task.episode_length=8", *ON_POLICY],
}
SEED = int(os.environ.get("HARL_KILLS_SEED", "19"))
CODES = {"TERM": {STOPPED}, "INT": {STOPPED}, "INT twice": {STOPPED, 130}, "KILL": {-9}}


@lru_cache(maxsize=None)
def undisturbed(case, base):
    """A case's run in one piece: how it ended, and its records."""
    cwd = base / case
    cwd.mkdir()
    ended = start(CASES[case], cwd)
    if "needs" in ended.errors and "install" in ended.errors:
        pytest.skip(ended.errors.strip())
    assert ended.code == 0, ended.errors
    return ended, records(run_folder(cwd))


def run_folder(cwd):
    (folder,) = cwd.glob("runs/**/config.yaml")
    return folder.parent


def records(folder):
    """What a run leaves, but for times: rows of its tables, and the content of its checkpoints."""
    found = {}
    for name in ("metrics.csv", "eval.csv"):
        rows = list(csv.DictReader((folder / name).open()))
        found[name] = [{key: value for key, value in row.items() if not key.startswith("time/")} for row in rows]
    for file in sorted((folder / "checkpoints").iterdir()):
        found[file.name] = flat(torch.load(file, weights_only=True))
    return found


def check_same(one, other):
    """Equal records, bit by bit."""
    assert one.keys() == other.keys()
    for name, content in one.items():
        if name.endswith(".csv"):
            assert content == other[name], name
        else:
            assert content.keys() == other[name].keys()
            assert [key for key, value in content.items() if not same(value, other[name][key])] == [], name


def kill_and_resume(case, kind, in_save, seed, base, cwd):
    """Kill a run, see that nothing is left but its folder, resume it, compare it with the undisturbed one."""
    whole, expected = undisturbed(case, base)
    draw = random.Random(seed)
    if in_save:  # the first one is whole: before it there is nothing to lose
        moment = Moment(kind, save=draw.randint(2, whole.saves), phase=draw.choice(PHASES))
    else:
        moment = Moment(kind, delay=draw.uniform(0.0, 0.8 * whole.seconds))
    print(case, moment)
    with nothing_left(cwd):
        ended = start(CASES[case], cwd, moment)
    finished = ended.code == 0 and len(list(csv.reader((run_folder(cwd) / "metrics.csv").open()))) > len(
        expected["metrics.csv"]
    )
    assert ended.code in CODES[kind] or finished, (ended.code, ended.errors)
    assert ended.errors.count("\n") == (1 if ended.code == 130 else 0), ended.errors
    with nothing_left(cwd):
        again = run(f"resume={run_folder(cwd)}", cwd=cwd)
    assert again.returncode == 0, again.stderr
    check_same(expected, records(run_folder(cwd)))


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """The undisturbed runs' folder."""
    return tmp_path_factory.mktemp("undisturbed")


@pytest.mark.parametrize(
    "case, kind, in_save",
    [
        ("game", "KILL", True),
        pytest.param("game", "INT twice", True, marks=pytest.mark.slow),
        ("replay", "TERM", True),
        ("workers", "KILL", False),
        pytest.param("workers", "INT", False, marks=pytest.mark.slow),
    ],
)
def test_a_killed_run_loses_nothing(case, kind, in_save, base, tmp_path):
    kill_and_resume(case, kind, in_save, SEED, base, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("case, kind, in_save, seed", moments(int(os.environ.get("HARL_KILLS", "100")), SEED, CASES))
def test_many_killed_runs_lose_nothing(case, kind, in_save, seed, base, tmp_path):
    kill_and_resume(case, kind, in_save, seed, base, tmp_path)
