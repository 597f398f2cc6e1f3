"""A run folder has one owner, any path names it, and what fails while logging does not end the training."""

import csv
import shutil
import signal
import subprocess
import sys
import time

import pytest
from support.commands import ROOT, run

from harl_isaac.training.logger import CsvFile, Logger
from harl_isaac.training.ownership import owned

OLD_RUN = ROOT / "tests" / "support" / "old_runs" / "SumGame_hatd3"
TINY = ["task=SumGame", "algo=happo", "num_envs=4", "algo.rollout_length=5", "algo.hidden=[8]", "device=cpu"]


def start(*words, cwd, **pipes):
    """`python train.py words` as a process of its own."""
    return subprocess.Popen([sys.executable, str(ROOT / "train.py"), *words], cwd=cwd, text=True, **pipes)


def test_a_second_owner_is_refused_and_a_dead_one_is_none(tmp_path):
    process = start(*TINY, "total_steps=100000000", "checkpoint.interval=1", cwd=tmp_path, stdout=subprocess.PIPE)
    while not list(tmp_path.glob("runs/SumGame/happo/*/checkpoints/latest.pt")):
        assert process.poll() is None
        time.sleep(0.1)
    (folder,) = tmp_path.glob("runs/SumGame/happo/*")
    second = run(f"resume={folder}", "total_steps=100000000", cwd=tmp_path)
    assert second.returncode == 2 and second.stderr.count("\n") == 1
    assert f"{folder} is being trained by process {process.pid} on " in second.stderr
    process.send_signal(signal.SIGKILL)
    process.wait()
    rows = list(csv.reader((folder / "metrics.csv").open()))
    third = run(f"resume={folder}", f"total_steps={int(float(rows[-1][1])) + 40}", cwd=tmp_path)
    assert third.returncode == 0, third.stderr
    iterations = [row[0] for row in csv.reader((folder / "metrics.csv").open())][1:]
    assert len(set(iterations)) == len(iterations)


def test_the_lock_is_released(tmp_path):
    with owned(tmp_path), pytest.raises(ValueError, match="is being trained by process"), owned(tmp_path):
        pass
    with owned(tmp_path):
        pass


NAMES = [
    "a,b", "a=b", "it's", 'say "so"', "[x]", "{y}", "#1", "!z", "~home", "two words", "\u00e9t\u00e9", "\u6f22\u5b57",
    "${HOME}", "a;b", "(c)", "x:y", "100%", "back\\slash", "-m", " lead", "tail ", "a&b", "*", "?", "<>", "a|b",
]  # fmt: skip


HARDEST = ["a,b", "a=b", "it's", 'say "so"', "[x]", "${HOME}", "\u6f22\u5b57", "-m"]


@pytest.mark.parametrize(
    "name", [name if name in HARDEST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_any_path_can_be_resumed_as_the_shell_hands_it_over(name, tmp_path):
    folder = tmp_path / name / "run"
    shutil.copytree(OLD_RUN, folder)
    where = f"{name}/run" if not name.startswith("-") else f"./{name}/run"
    result = run(f"resume={where}", "total_steps=120", "log.console=lines", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert "finished after 4 iterations, 120 steps" in result.stdout


@pytest.mark.parametrize("name", ["a,b", "a=b c", "it's", "${HOME}", "\u6f22\u5b57", "[x]"])
def test_runs_are_made_below_any_path(name, tmp_path):
    result = run(*TINY, "total_steps=20", f"run_root={name}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (folder,) = (tmp_path / name).glob("SumGame/happo/*")
    again = run(f"resume={folder}", "total_steps=40", cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    shown = run(f"run={folder}", "episodes=2", "num_envs=2", script="scripts/evaluate.py", cwd=tmp_path)
    assert shown.returncode == 0, shown.stderr


def test_a_closed_stdout_does_not_end_the_training(tmp_path):
    words = " ".join(TINY)
    command = f"{sys.executable} {ROOT / 'train.py'} {words} total_steps=2000 log.console=lines | head -n 1"
    assert subprocess.run(["bash", "-c", command], cwd=tmp_path, capture_output=True, text=True).returncode == 0
    (folder,) = tmp_path.glob("runs/SumGame/happo/*")
    assert len(list(csv.reader((folder / "metrics.csv").open()))) == 101
    assert (folder / "checkpoints" / "latest.pt").is_file()


def test_records_that_cannot_be_written_are_reported_once(tmp_path, capsys):
    logger = Logger(tmp_path / "run", "none", 1, 100)
    logger.events.close()  # its thread would fail by itself
    shutil.rmtree(tmp_path / "run")
    for iteration in range(3):
        logger.iteration(iteration, iteration, {"steps": 1.0})
    logger.close()
    assert capsys.readouterr().err.count("records of") == 1


def test_names_with_commas_and_half_a_header(tmp_path, capsys):
    file = CsvFile(tmp_path / "metrics.csv", 0)
    file.add(1, {"steps": 2.0, 'agent/a,"b"/loss': 0.5})
    again = CsvFile(tmp_path / "metrics.csv", 1)
    again.add(2, {"steps": 4.0, 'agent/a,"b"/loss': 0.25})
    (first, second) = csv.DictReader((tmp_path / "metrics.csv").open())
    assert (first['agent/a,"b"/loss'], second['agent/a,"b"/loss']) == ("0.5", "0.25")
    (tmp_path / "metrics.csv").write_text("iterat")
    CsvFile(tmp_path / "metrics.csv", 1).add(2, {"steps": 4.0, "episode/return": 1.0})
    assert (tmp_path / "metrics.damaged.csv").read_text() == "iterat" and "moved to" in capsys.readouterr().err


def test_two_interrupts_end_in_one_line(tmp_path):
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    words = [*TINY, "total_steps=100000000", "checkpoint.interval=1", "algo.critic_epochs=3000", "log.console=lines"]
    process = start(*words, cwd=tmp_path, **pipes)
    assert process.stdout.readline()
    time.sleep(2.0)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 130 and errors.count("\n") == 1 and "interrupted" in errors, errors
