"""The commands: their names, their help, the newest run, named runs that go on, sweeps with points that fail."""

import os
import re
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from support.commands import ROOT, TINY, run

from harl_isaac.cli import entry
from harl_isaac.cli.commands import COMMANDS, newest_run
from harl_isaac.cli.help import KEYS
from harl_isaac.cli.train import STOPPED
from harl_isaac.training.ownership import owned

GAME = ["task=SumGame", *TINY]
LONG = [word for word in GAME if not word.startswith(("total_steps", "eval."))] + ["total_steps=100000000"]


def in_python(*words, cwd, **env):
    """`python -m harl_isaac words`, and at its end whether torch was imported."""
    program = "import sys; from harl_isaac.cli.entry import main; main(sys.argv[1:]); print('torch' in sys.modules)"
    return subprocess.run(
        [sys.executable, "-c", program, *words],
        cwd=str(cwd),
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        capture_output=True,
        text=True,
    )


@pytest.mark.parametrize("name", COMMANDS)
@pytest.mark.parametrize("word", ["--help", "-h", "--version"])
def test_help_and_version_import_nothing_heavy(name, word, tmp_path):
    result = in_python(name, word, cwd=tmp_path)
    assert result.returncode == 0 and result.stdout.endswith("False\n"), result.stderr
    assert f"harl-{name}" in result.stdout or name == "draw" or word == "--version"
    assert re.match(r"harl_isaac \d", result.stdout) or word != "--version"


def test_commands_are_listed_and_a_wrong_one_is_named(tmp_path):
    result = in_python(cwd=tmp_path)
    assert all(f"  {name} " in result.stdout for name in COMMANDS) and result.stdout.endswith("False\n")
    result = in_python("trian", cwd=tmp_path)
    assert result.returncode == 2 and result.stderr.startswith("harl_isaac: trian is no command; possible: train, ")


def test_every_command_has_a_script_and_an_entry():
    setup = (ROOT / "setup.py").read_text()
    for name, command in COMMANDS.items():
        assert f'"{name}": "' in setup or name == "draw"
        assert (ROOT / "harl_isaac" / "cli" / f"{command.module}.py").is_file()
        assert callable(getattr(entry, command.module))


def test_the_help_has_the_defaults():
    with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
        cfg = compose("config", ["task=ShadowHandOver", "algo=happo"])
    for word in KEYS:
        key, _, value = word.partition("=")
        assert str(OmegaConf.select(cfg, key)) == {"null": "None", "false": "False"}.get(value, value)


@pytest.mark.parametrize("name", ["plot", "theory"])
def test_a_missing_extra_is_named(name, tmp_path):
    (tmp_path / "matplotlib").mkdir()
    (tmp_path / "matplotlib" / "__init__.py").write_text("raise ModuleNotFoundError('gone', name='matplotlib')\n")
    words = [f"runs={tmp_path}"] if name == "plot" else []
    (tmp_path / "metrics.csv").write_text("steps,time/steps_per_second,episode/return\n12,100,1.0\n")
    result = in_python(name, *words, cwd=tmp_path, PYTHONPATH=f"{tmp_path}{os.pathsep}{ROOT}")
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert re.search(r"matplotlib.* is not installed.*: pip install 'harl-isaac\[plot\]'", result.stderr)


def test_the_newest_run(tmp_path):
    with pytest.raises(ValueError, match="last: no run with a checkpoint below"):
        newest_run(str(tmp_path))
    for age, name in ((10, "a/happo/one"), (5, "b/c/happo/two"), (20, "a/happo/three")):
        file = tmp_path / name / "checkpoints" / "latest.pt"
        file.parent.mkdir(parents=True)
        file.touch()
        os.utime(file, (time.time() - age,) * 2)
    assert newest_run(str(tmp_path)) == tmp_path / "b/c/happo/two"


def test_the_newest_run_is_evaluated_and_resumed(tmp_path):
    assert run(*GAME, cwd=tmp_path).returncode == 0
    result = run("last", "episodes=4", cwd=tmp_path, script="scripts/evaluate.py")
    assert result.returncode == 0 and "4 episodes" in result.stdout, result.stderr
    result = run("resume=last", "total_steps=36", cwd=tmp_path)
    assert result.returncode == 0 and "finished after 3 iterations, 36 steps" in result.stdout, result.stderr


def started(cwd, *words):
    command = [sys.executable, str(ROOT / "train.py"), *words]
    return subprocess.Popen(command, cwd=str(cwd), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("number", ["SIGUSR1", pytest.param("SIGTERM", marks=pytest.mark.slow)])
def test_a_named_run_goes_on_with_the_same_command(number, tmp_path):
    words = [*LONG, "checkpoint.interval=1", "run_name=first", "resume=auto"]
    process = started(tmp_path, *words)
    latest = tmp_path / "runs/SumGame/happo/first/checkpoints/latest.pt"
    while process.poll() is None and not latest.is_file():
        time.sleep(0.1)
    process.send_signal(getattr(signal, number))
    output, errors = process.communicate(timeout=60)
    assert process.returncode == STOPPED and "go on with: " in output, errors
    before = len(latest.parents[1].joinpath("metrics.csv").read_text().splitlines())
    process = started(tmp_path, *words)
    while process.poll() is None and "resumed" not in (line := process.stdout.readline()) and line:
        if re.search(r"^\d+/100000000 steps", line):
            break
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == STOPPED
    assert len(latest.parents[1].joinpath("metrics.csv").read_text().splitlines()) > before
    assert [path.name for path in latest.parents[2].iterdir()] == ["first"]


def test_a_name_is_not_used_twice(tmp_path):
    assert run(*GAME, "run_name=first", cwd=tmp_path).returncode == 0
    result = run(*GAME, "run_name=first", cwd=tmp_path)
    assert result.returncode == 2 and "is there already: go on with resume=auto" in result.stderr
    assert run(*GAME, "run_name=first", "resume=auto", cwd=tmp_path).returncode == 0  # there is nothing left to do
    for word, message in (("run_name=a/b", "must be a name without folders"), ("seed=1", "resume=auto needs a name")):
        result = run(*GAME, word, "resume=auto", cwd=tmp_path)
        assert result.returncode == 2 and message in result.stderr, result.stderr


def test_a_run_that_ended_before_its_first_checkpoint_begins_anew(tmp_path):
    folder = tmp_path / "runs/SumGame/happo/first"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("iteration,steps\n1,12\n")
    result = run(*GAME, "run_name=first", "resume=auto", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert (folder.parent / "first-unfinished" / "metrics.csv").is_file()
    assert len((folder / "metrics.csv").read_text().splitlines()) == 3


def test_of_two_starts_of_a_name_at_once_one_trains_and_loses_nothing(tmp_path):
    """Neither finds a folder; the second must not take the first one's for a run that ended without a checkpoint."""
    folder = tmp_path / "runs/SumGame/happo/first"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("iteration,steps\n1,12\n")
    with owned(folder):
        result = run(*GAME, "run_name=first", "resume=auto", cwd=tmp_path)
    assert result.returncode == 2 and f"{folder.name} is being trained by process {os.getpid()} on " in result.stderr
    assert (folder / "metrics.csv").is_file() and [path.name for path in folder.parent.iterdir()] == ["first"]


def test_runs_that_start_in_one_second_have_folders_of_their_own(tmp_path):
    with ThreadPoolExecutor() as pool:
        results = list(pool.map(lambda _: run(*GAME, cwd=tmp_path), range(2)))
    assert [result.returncode for result in results] == [0, 0]
    assert len(list(tmp_path.glob("runs/SumGame/happo/*/checkpoints/latest.pt"))) == 2


def test_a_point_that_fails_stops_no_other(tmp_path):
    result = run("-m", *GAME, "algo.minibatches=1,5,2", cwd=tmp_path)
    assert result.returncode == 2
    first, *_, last = result.stderr.strip().split("\n")  # between them hydra's own line
    assert re.match(r"harl-train: .*algo.minibatches=5.*: algo.minibatches=5 does not divide", first)
    assert re.match(r"harl-train: 1 points of the sweep failed: .*algo.minibatches=5", last)
    assert len(list(tmp_path.glob("runs/SumGame/happo/*/checkpoints/latest.pt"))) == 2


def test_a_signal_stops_the_sweep(tmp_path):
    process = started(tmp_path, "-m", *LONG, "seed=1,2,3", "checkpoint.interval=1")
    while process.poll() is None and not list(tmp_path.glob("runs/SumGame/happo/*/checkpoints/latest.pt")):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == STOPPED, errors
    assert len(list(tmp_path.glob("runs/SumGame/happo/*"))) == 1


@pytest.mark.parametrize(
    "program, name, expected",
    [
        ("/opt/env/bin/harl-train", "train", "/opt/env/bin/harl-train"),
        ("/opt/env/bin/harl-train", "evaluate", "/opt/env/bin/harl-evaluate"),
        ("{here}/train.py", "train", "{python} train.py"),
        ("{here}/train.py", "evaluate", "{python} -m harl_isaac evaluate"),
        ("/elsewhere/train.py", "train", "{python} /elsewhere/train.py"),
    ],
)
def test_a_hint_can_be_pasted(program, name, expected, tmp_path, monkeypatch):
    from harl_isaac.hints import invocation

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("HARL_SCRIPTS", raising=False)
    monkeypatch.setattr(sys, "argv", [program.format(here=tmp_path)])
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert invocation(name) == expected.format(python="python")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert invocation(name) == expected.format(python=sys.executable)


def test_a_hint_of_the_shell_script_is_the_script(monkeypatch):
    from harl_isaac.hints import invocation

    monkeypatch.setenv("HARL_SCRIPTS", "scripts")
    assert invocation("train") == "scripts/train.sh"
