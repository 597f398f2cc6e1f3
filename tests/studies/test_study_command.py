"""harl-study: tasks x algorithms x seeds in one folder, resumable, several at once; a failed point stops no other."""

import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest
from support.commands import ROOT, run
from support.study_runs import fake_command, statuses

from harl_isaac.cli import study as command
from harl_isaac.cli.train import STOPPED
from harl_isaac.studies.index import INDEX, Key, Study, load_study
from harl_isaac.studies.scheduler import Scheduler

SMALL = ["num_envs=4", "algo.hidden=[8]", "device=cpu", "eval.interval=1", "eval.episodes=4"]
GAME = ["tasks=SumGame", *SMALL]


def run_study(*words, cwd):
    return run(*words, cwd=cwd, script="scripts/study.py")


def test_a_study_trains_all_its_points_and_an_impossible_one_stops_none(tmp_path):
    words = ["name=games", "algos=had3qn,happo", "seeds=1,2", "jobs=2", "total_steps=40", "happo:algo.rollout_length=5"]
    result = run_study(*words, *GAME, cwd=tmp_path)
    assert result.returncode == 1, result.stderr
    folder = tmp_path / "studies" / "games"
    assert statuses(folder) == ["failed", "failed", "finished", "finished"]
    assert "studies/games: 2 finished, 2 failed\n" in result.stderr
    assert (
        "SumGame had3qn seed 1: failed (algo=had3qn needs choices (Discrete, MultiDiscrete); one has" in result.stderr
    )
    assert result.stderr.endswith("go on with: harl-study studies/games\n")
    assert len(list(folder.glob("runs/SumGame/happo/*-seed[12]/checkpoints/latest.pt"))) == 2
    before = {path: path.stat().st_mtime_ns for path in folder.glob("runs/SumGame/happo/*/metrics.csv")}
    again = run_study("games", cwd=tmp_path)
    assert again.returncode == 1 and "4 runs, 2 finished, 2 to go, 1 at once" in again.stdout
    assert "SumGame had3qn seed 2: failed before (algo=had3qn needs choices" in again.stdout
    assert {path: path.stat().st_mtime_ns for path in before} == before
    assert [point.attempts for point in load_study(folder).points] == [2, 2, 1, 1]


@pytest.mark.slow
def test_sigterm_stops_a_study_and_the_same_command_goes_on(tmp_path):
    words = ["long", "tasks=SumGame", "algos=happo", "seeds=1,2", "algo.rollout_length=5", *SMALL]
    process = subprocess.Popen(
        [sys.executable, str(ROOT / "scripts" / "study.py"), *words, "total_steps=10000000"],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    folder = tmp_path / "studies" / "long"
    deadline = time.monotonic() + 200
    while not list(folder.glob("runs/SumGame/happo/*/eval.csv")) and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=100)
    assert process.returncode == STOPPED == 75 and "1 stopped, 1 waiting" in errors, errors
    assert statuses(folder) == ["stopped", "waiting"]
    run_folder = next(folder.glob("runs/SumGame/happo/*-seed1"))
    steps = int((run_folder / "metrics.csv").read_text().splitlines()[-1].split(",")[1])
    result = run_study(*words, f"total_steps={steps + 20}", "jobs=2", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "SumGame happo seed 1: resumed" in result.stdout and "SumGame happo seed 2: started" in result.stdout
    assert statuses(folder) == ["finished", "finished"]
    assert len(list(folder.glob("runs/SumGame/happo/*"))) == 2
    assert len((run_folder / "metrics.csv").read_text().splitlines()) == 1 + (steps + 20) // 20


def request(*words):
    return command.read_request(list(words))


@pytest.mark.parametrize(
    "words, message",
    [
        ([], "give name=<study>"),
        (["games"], "studies/games: give tasks=... and algos=... and seeds=... too"),
        (["games", "algos=happo", "tasks=SumGame"], "studies/games: give seeds=... too"),
        (["games", "task=SumGame"], "task=SumGame: a study has several; give tasks=..."),
        (["games", "resume=x"], "resume=x: a study names its own run folders"),
        (["games", "-m"], "-m: give key=value"),
        (["x", "tasks=./mine.py:MyCfg", "algos=happo", "seeds=1"], "./mine.py:MyCfg: give modules=[./mine.py], and in"),
        (["games", "algos=happo", "tasks=SumGame", "seeds=one"], "seeds=one: give whole numbers"),
        (["games", "algos=happo", "tasks=SumGame", "seeds=1", "jobs=0"], "jobs=0: give a whole number of at least 1"),
    ],
)
def test_a_mistake_in_a_study_s_own_keys_is_named(words, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        request(*words)


@pytest.mark.parametrize(
    "word, message",
    [
        ("algos=happo,mapo", "SumGame, mapo: algo mapo is unknown; did you mean mappo?"),
        ("tasks=SumGam", "task SumGam is unknown; did you mean SumGame?"),
        ("num_env=3", "key num_env is unknown; did you mean num_envs?"),
        ("mappo:algo.lr=3", "mappo:algo.lr=3: mappo is no task or algorithm of the study; possible: SumGame, happo"),
    ],
)
def test_a_mistake_in_training_s_settings_costs_nothing(word, message, tmp_path):
    words = ["new", *[each for each in ("tasks=SumGame", "algos=happo") if each[:5] != word[:5]], "seeds=1", word]
    result = run_study(*words, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_words_reach_the_points_that_they_are_for(tmp_path):
    asked = request(
        "x", "tasks=mpe/simple_spread,SumGame", "algos=happo,hasac", "seeds=1-2,7", "hasac:algo.n_step=3",
        "experiment={task}-continuous/{algo}", "SumGame:num_envs=4",
    )  # fmt: skip
    assert len(asked.keys) == 12 and asked.keys[2] == Key("mpe/simple_spread", "happo", 7)
    study = Study(tmp_path, asked.words)
    study.add(asked.keys)
    first, last = (study.words_of(study.points[number]) for number in (0, -1))
    assert first == ["task=mpe/simple_spread", "algo=happo", "seed=1", "experiment=mpe/simple_spread-continuous/happo"]
    assert last[3:] == ["algo.n_step=3", "experiment=SumGame-continuous/hasac", "num_envs=4"]


def test_a_study_grows_but_keeps_its_settings(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = Study(tmp_path / "studies" / "s", ["num_envs=4", "total_steps=10"])
    study.add([Key("SumGame", "happo", 1)])
    study.points[0].status = "finished"
    study.save()
    with pytest.raises(ValueError, match="was made with num_envs=4, now num_envs=8; give another name="):
        command.prepare_points(load_study(study.folder), request("s", "num_envs=8"))
    more = load_study(study.folder)
    chosen = command.prepare_points(more, request("s", "tasks=SumGame", "algos=happo", "seeds=1,2"))
    assert [point.status for point in chosen] == ["finished", "waiting"]
    longer = load_study(study.folder)
    assert command.prepare_points(longer, request("s", "total_steps=20"))[0].status == "stopped"
    assert longer.words == ["num_envs=4", "total_steps=20"]


def test_so_many_points_run_at_once_and_each_has_its_share_of_the_cores(tmp_path):
    study = Study(tmp_path, ["total_steps=40"])
    study.add([Key("SumGame", "happo", seed) for seed in range(5)])
    given = []
    scheduler = Scheduler(study, 2, fake_command(given, failing="seed=1"), lambda text: None)
    at_once = []
    fill = scheduler.fill
    scheduler.fill = lambda waiting: (fill(waiting), at_once.append(len(scheduler.slots)))
    assert not scheduler.run(list(study.points))
    assert statuses(tmp_path) == ["finished", "failed", "finished", "finished", "finished"]
    assert study.points[1].error == "ValueError: impossible"
    assert max(at_once) == 2
    usable = sorted(os.sched_getaffinity(0))
    assert {tuple(cores) for _, cores in given} == {tuple(usable[:1]), tuple(usable[1:2] or usable[:1])} or len(
        usable
    ) > 2


def test_a_process_that_is_killed_is_a_failed_point(tmp_path):
    study = Study(tmp_path, ["total_steps=40"])
    study.add([Key("SumGame", "happo", 1)])
    program = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    Scheduler(study, 1, lambda words, cores: [sys.executable, "-c", program], lambda text: None).run(study.points)
    assert study.points[0].status == "failed" and study.points[0].error.startswith("ended by SIGKILL; its log: ")


@pytest.mark.parametrize(
    "change",
    [
        lambda content: "{",
        lambda content: json.dumps({**content, "format": 9}),
        lambda content: json.dumps({**content, "points": [{**content["points"][0], "folder": "../../etc"}]}),
        lambda content: json.dumps({**content, "points": [{**content["points"][0], "color": "red"}]}),
    ],
)
def test_a_damaged_index_is_named(change, tmp_path):
    study = Study(tmp_path, [])
    study.add([Key("SumGame", "happo", 1)])
    study.save()
    (tmp_path / INDEX).write_text(change(json.loads((tmp_path / INDEX).read_text())))
    with pytest.raises(ValueError, match="study.json is damaged"):
        load_study(tmp_path)
