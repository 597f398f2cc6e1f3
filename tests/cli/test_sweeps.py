"""Sweeps: what hydra takes is taken, plug-ins, searches with Optuna, and the launchers of joblib and submitit."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from support.commands import ROOT, TINY, run
from support.killing import in_folder

from harl_isaac.cli import sweeps
from harl_isaac.cli.overrides import check_line, read_options
from harl_isaac.cli.points import STOPPED, run_words
from harl_isaac.config import register

GAME = ["task=SumGame", *TINY]
LONG = [word for word in GAME if not word.startswith(("total_steps", "eval."))]
LONG += ["total_steps=100000000", "checkpoint.interval=1", "eval.interval=0"]
GONE = ", which is not installed: pip install"
SEARCH = ["-m", "sweeper=optuna", "hydra.sweeper.sampler=random", "hydra.sweeper.study=lr"]


def needs(*modules):
    for module in modules:
        pytest.importorskip(module, reason=f"{module} is not installed: pip install -e .[sweeps]")


def check(*words):
    register()
    return check_line(read_options(list(words)))


def test_options_stand_anywhere():
    line = read_options(["task=SumGame", "-m", "seed=1,2", "--config-dir", str(ROOT), "num_envs=4"])
    assert line.sweep and line.folder == str(ROOT)
    assert line.overrides == ["task=SumGame", "seed=1,2", "num_envs=4"]
    assert line.flags == ["-m", "--config-dir", str(ROOT)]
    assert read_options(["hydra.mode=MULTIRUN"]).sweep and not read_options(["seed=1"]).sweep


@pytest.mark.parametrize(
    "words",
    [
        ["-m", "seed=range(1,3)"],
        ["-m", "algo=glob(haa*)"],
        ["-m", "algo=choice(happo,mappo)"],
        ["-m", "algo.lr=shuffle(1e-4,1e-3)"],
        ["-m", "sweeper=optuna", "algo.lr=interval(1e-4,1e-3)"],
        ["-m", "sweeper=optuna", "algo.lr=tag(log,interval(1e-4,1e-3))", "algo.epochs=int(interval(1,4))"],
        ["hydra.verbose=true"],
    ],
)
def test_hydra_s_values_are_taken(words):
    if "sweeper=optuna" in words:
        needs("optuna")
    assert check("task=SumGame", *words)["task"] == "SumGame"


@pytest.mark.parametrize(
    "words, message",
    [
        (["-m", "algo.lr=interval(1e-4,1e-3)"], r"algo.lr=interval\(1e-4,1e-3\) names no single values: add sweeper="),
        (["-m", "sweeper=optuna", "algo.lrr=interval(0,1)"], "key algo.lrr is unknown; did you mean algo.lr?"),
        (["-m", "sweeper=optuna", "hydra.sweeper.trials=3"], "key hydra.sweeper.trials is unknown; did you .*n_trials"),
        (["-m", "algo=glob(nothing*)"], r"algo=glob\(nothing\*\) has no value"),
        (["-m", "launcher=jobli"], "launcher jobli is unknown; did you mean joblib?"),
        (["-m", "hydra/launcher=nothing"], "hydra/launcher nothing is unknown; possible: basic, "),
        (["-m", "+hydra.sweeper.params.seed='1,2'"], "Unexpected type"),
        (["--multi-run"], "unrecognized arguments: --multi-run; --hydra-help"),
        (["--config-path", "conf"], "--config-path conf would replace all settings; --config-dir adds a folder"),
        (["--config-dir", "nowhere"], "--config-dir nowhere: there is no such folder"),
    ],
)
def test_a_mistake_in_a_sweep_is_one_line(words, message):
    with pytest.raises(ValueError, match=message) as caught:
        check("task=SumGame", *words)
    assert "\n" not in str(caught.value)


def test_a_folder_of_settings_is_searched(tmp_path):
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(
        "# @package _global_\ndefaults:\n  - override /task: SumGame\nnum_envs: 3\n"
    )
    (tmp_path / "whole.yaml").write_text("defaults:\n  - config\n  - override task: MatrixGame\n  - _self_\n")
    assert check("experiment=mine", "--config-dir", str(tmp_path))["task"] == "SumGame"
    assert check("experiment=mine", f"hydra.searchpath=[file://{tmp_path}]")["task"] == "SumGame"
    both = ["hydra.searchpath=[pkg://harl_isaac.tasks]", "-cd", str(tmp_path)]
    assert check("experiment=mine", *both)["task"] == "SumGame"
    result = run("experiment=mine", "--config-dir", ".", *TINY[1:], cwd=tmp_path)
    assert result.returncode == 0 and "2 agents, 3 environments" in result.stdout, result.stderr


@pytest.mark.parametrize(
    "word, advice",
    [
        (
            "hydra/launcher=joblib",
            f"needs hydra-joblib-launcher{GONE} 'harl-isaac[sweeps]'",
        ),
        ("launcher=slurm", f"needs hydra-submitit-launcher{GONE} 'harl-isaac[sweeps]'"),
        ("hydra/sweeper=optuna", f"needs optuna{GONE} 'harl-isaac[sweeps]'"),
        ("hydra/launcher=ray", f"needs hydra-ray-launcher{GONE} hydra-ray-launcher"),
    ],
)
def test_a_missing_plugin_names_its_package(word, advice, monkeypatch):
    monkeypatch.setattr(sweeps, "find_spec", lambda name: None)
    with pytest.raises(ValueError) as caught:
        sweeps.check_installed(["-m", word, "seed=1,2"])
    assert str(caught.value) == f"{word} {advice}"


def documented():
    page = (ROOT / "docs" / "clusters.md").read_text().replace("\\\n", "")
    blocks = re.findall(r"```bash\n(.*?)```", page, re.S)
    return [line for block in blocks for line in block.splitlines() if line.startswith("harl-train ")]


@pytest.mark.parametrize("command", documented())
def test_the_page_s_commands_can_be_given(command):
    needs("hydra_plugins.hydra_joblib_launcher", "hydra_plugins.hydra_submitit_launcher", "optuna")
    choices = check(*shlex.split(command)[1:])
    assert "launcher=" not in command or choices["launcher"] is not None


def test_a_launcher_is_for_a_sweep():
    with pytest.raises(ValueError, match="launcher=joblib is for the runs of a sweep: add -m"):
        sweeps.check_sweep(read_options(["launcher=joblib"]), {"hydra/launcher": "joblib"})
    sweeps.check_sweep(read_options(["seed=1"]), {"hydra/launcher": "basic", "hydra/sweeper": "basic"})


def test_a_point_goes_on_by_its_name():
    assert run_words(["launcher=joblib", "seed=1"], "a") == ["seed=1", "run_name=a", "resume=auto"]
    assert run_words(["seed=1", "run_name=b"], "a") == ["seed=1", "run_name=b"]


def test_a_search_leaves_out_what_fails_and_goes_on(tmp_path):
    needs("optuna")
    space = ["algo.lr=tag(log,interval(1e-4,1e-3))", "algo.minibatches=choice(1,5)"]
    result = run(*SEARCH, "hydra.sweeper.n_trials=4", *space, *GAME, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = tmp_path / "runs" / "sweeps" / "lr"
    best = json.loads((folder / "best.json").read_text())
    runs = sorted(path.name for path in (tmp_path / "runs/SumGame/happo").iterdir())
    failed = result.stdout.count("failed: algo.minibatches=5 does not divide")
    assert best["trials"] == 4 and best["failed"] == failed > 0 and len(runs) == 4 - failed
    assert f"lr-{best['trial']:03d}" in runs and "algo.minibatches=1" in best["overrides"]
    assert f"best of 4 trials ({failed} failed): {best['score']:.5g}" in result.stdout
    rows = [line.split(",") for line in (tmp_path / f"runs/SumGame/happo/lr-{best['trial']:03d}/eval.csv").open()]
    column = rows[0].index("return")
    assert best["score"] == pytest.approx(max(float(row[column]) for row in rows[1:]), rel=1e-4)

    result = run(*SEARCH, "hydra.sweeper.n_trials=5", *space, *GAME, cwd=tmp_path)
    assert result.returncode == 0 and "goes on, 4 of 5 trials are done" in result.stdout, result.stderr
    assert json.loads((folder / "best.json").read_text())["trials"] == 5
    result = run(*SEARCH, "hydra.sweeper.n_trials=5", space[0], *GAME, cwd=tmp_path)
    assert result.returncode == 2 and "has other settings (was algo.minibatches=" in result.stderr
    assert [path.name for path in folder.parent.iterdir() if path.name.startswith(".")] == []


def started(cwd, *words):
    with (cwd / "out").open("a") as out:
        return subprocess.Popen(
            [sys.executable, str(ROOT / "train.py"), *words],
            cwd=str(cwd),
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            start_new_session=True,
        )


def wait_for(condition, seconds=180):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.1)


def steps(cwd):
    """Iterations of each run below the folder."""
    files = cwd.glob("runs/SumGame/happo/*/metrics.csv")
    return {file.parent.name: len(file.read_text().splitlines()) - 1 for file in files}


@pytest.mark.slow
def test_a_search_that_was_stopped_goes_on_with_its_trial(tmp_path):
    needs("optuna")
    words = [*SEARCH, "hydra.sweeper.n_trials=2", "algo.lr=interval(1e-4,1e-3)", *LONG]
    done = 0
    for _ in range(2):
        process = started(tmp_path, *words)
        wait_for(lambda done=done: sum(steps(tmp_path).values()) > done + 2)
        process.send_signal(signal.SIGTERM)
        assert process.wait(120) == STOPPED and list(steps(tmp_path)) == ["lr-000"]
        done = steps(tmp_path)["lr-000"]


@pytest.mark.slow
def test_joblib_runs_points_side_by_side(tmp_path):
    needs("hydra_plugins.hydra_joblib_launcher")
    result = started(tmp_path, "-m", "launcher=joblib", "algo.minibatches=1,5,2", *GAME)
    assert result.wait(240) == 2
    output = (tmp_path / "out").read_text()
    assert "1 points of the sweep failed: " in output and "algo.minibatches=5 does not divide" in output
    assert len(list(tmp_path.glob("runs/SumGame/happo/*-seed1/checkpoints/latest.pt"))) == 2
    assert len(list(tmp_path.glob("runs/sweeps/*/[012].log"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["TERM", "INT to all", "KILL"])
def test_a_signal_stops_joblib_s_points_with_checkpoints(kind, tmp_path):
    needs("hydra_plugins.hydra_joblib_launcher")
    process = started(tmp_path, "-m", "launcher=joblib", "seed=1,2,3", *LONG)
    wait_for(lambda: len(list(tmp_path.glob("runs/SumGame/happo/*/checkpoints/latest.pt"))) == 2)
    if kind == "INT to all":
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does
    else:
        process.send_signal(getattr(signal, "SIG" + kind))
    assert process.wait(120) == (-signal.SIGKILL if kind == "KILL" else STOPPED)
    wait_for(lambda: in_folder(tmp_path) == [], 60)
    logs = "".join(file.read_text() for file in tmp_path.glob("runs/sweeps/*/*.log"))
    assert logs.count("go on with: ") == 2 and len(steps(tmp_path)) == 2


@pytest.mark.slow
def test_submitit_s_jobs_are_requeued_and_go_on(tmp_path):
    """USR2 is what a job of submitit's gets before its end; then the sweep is stopped, and the next one killed."""
    needs("hydra_plugins.hydra_submitit_launcher")
    words = ["-m", "launcher=submitit_local", "run_name='s${seed}'", "resume=auto", *LONG]
    process = started(tmp_path, *words)
    latest = tmp_path / "runs/SumGame/happo/s1/checkpoints/latest.pt"
    wait_for(latest.is_file)
    for number in in_folder(tmp_path):
        if b"submitit.core._submit" in Path(f"/proc/{number}/cmdline").read_bytes():
            os.kill(number, signal.SIGUSR2)
    log = next(tmp_path.glob("runs/sweeps/*/0.log"))
    wait_for(lambda: log.read_text().count("SumGame, happo") == 2)
    done = steps(tmp_path)["s1"]
    assert "go on with: " in log.read_text()
    wait_for(lambda: steps(tmp_path)["s1"] > done + 2)
    process.send_signal(signal.SIGTERM)
    assert process.wait(120) == STOPPED
    wait_for(lambda: in_folder(tmp_path) == [], 60)

    done = steps(tmp_path)["s1"]
    process = started(tmp_path, *words)
    wait_for(lambda: steps(tmp_path)["s1"] > done + 2)
    for number in in_folder(tmp_path):
        os.kill(number, signal.SIGKILL)
    process.wait(60)
    process = started(tmp_path, *words)
    done = steps(tmp_path)["s1"]
    wait_for(lambda: steps(tmp_path)["s1"] > done + 2)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(120) == STOPPED and list(steps(tmp_path)) == ["s1"]
    iterations = [line.split(",")[0] for line in (latest.parents[1] / "metrics.csv").read_text().splitlines()[1:]]
    assert iterations == sorted(set(iterations), key=int) and len(iterations) == int(iterations[-1])


TEMPLATE = ROOT / "scripts" / "slurm" / "train_array.sbatch"
STUB = """#!/usr/bin/env bash
trap 'echo "got USR1"; exit 75' USR1
trap 'echo "got TERM"; exit 75' TERM
echo "words: $*" >> words
touch begun
for i in $(seq 100); do sleep 0.1; [ ! -e finish ] || exit 0; done
"""


def slurm_job(cwd, train, *words):
    """Run the template's body as Slurm would, with a scontrol that notes what it was asked."""
    (cwd / "scontrol").write_text(f'#!/usr/bin/env bash\necho "$*" >> {cwd}/requeued\n')
    (cwd / "scontrol").chmod(0o755)
    env = {
        **os.environ,
        "PATH": f"{cwd}{os.pathsep}{os.environ['PATH']}",
        "TRAIN": train,
        "SLURM_ARRAY_JOB_ID": "70",
        "SLURM_ARRAY_TASK_ID": "3",
        "SLURM_JOB_NAME": "harl",
    }
    with (cwd / "out").open("a") as out:
        return subprocess.Popen(["bash", str(TEMPLATE), *words], cwd=str(cwd), env=env, stdout=out, stderr=out)


@pytest.mark.parametrize("number, code, requeued", [("SIGUSR1", 75, True), ("SIGTERM", 75, False), (None, 0, False)])
def test_the_template_for_slurm_requeues_what_ran_out_of_time(number, code, requeued, tmp_path):
    assert subprocess.run(["bash", "-n", str(TEMPLATE)]).returncode == 0
    (tmp_path / "train").write_text(STUB)
    (tmp_path / "train").chmod(0o755)
    job = slurm_job(tmp_path, str(tmp_path / "train"), "task=SumGame", "algo.hidden=[8, 8]")
    wait_for((tmp_path / "begun").is_file, 30)
    if number:
        job.send_signal(getattr(signal, number))
    else:
        (tmp_path / "finish").touch()
    assert job.wait(30) == code
    assert (tmp_path / "words").read_text() == (
        "words: task=SumGame algo.hidden=[8, 8] seed=3 run_name=harl-70-seed3 resume=auto\n"
    )
    assert (tmp_path / "requeued").exists() == requeued
    if requeued:
        assert (tmp_path / "requeued").read_text() == "requeue 70_3\n"


@pytest.mark.slow
def test_a_requeued_job_goes_on(tmp_path):
    train = f"{sys.executable} {ROOT / 'train.py'}"
    metrics = tmp_path / "runs/SumGame/happo/harl-70-seed3/metrics.csv"
    done = 0
    for number in ("SIGUSR1", "SIGUSR1"):
        job = slurm_job(tmp_path, train, *LONG)
        wait_for(lambda done=done: metrics.exists() and len(metrics.read_text().splitlines()) > done + 3)
        job.send_signal(getattr(signal, number))
        assert job.wait(120) == STOPPED
        assert len(metrics.read_text().splitlines()) > done + 3
        done = len(metrics.read_text().splitlines())
    assert (tmp_path / "requeued").read_text() == "requeue 70_3\n" * 2
    iterations = [int(line.split(",")[0]) for line in metrics.read_text().splitlines()[1:]]
    assert iterations == list(range(1, len(iterations) + 1))
