"""Command lines and folders of a kind that once passed, or ended in a traceback: one line each."""

import re
import sys

import pytest
from support.commands import ROOT

from harl_isaac.cli import entry
from harl_isaac.cli.entry import named_task
from harl_isaac.cli.overrides import check_command_line
from harl_isaac.config import differences
from harl_isaac.training import curves, run_folder

TINY = ["task=SumGame", "algo=happo", "device=cpu"]
LINES = {
    "+foo=1": "key foo is unknown; possible: task, algo",
    "++foo.bar=1": "key foo is unknown",
    "+eval.foo=1": "key eval.foo is unknown; possible: eval.interval",
    "++algo.foo=1": "key algo.foo is unknown",
    "~seed": "~seed: settings cannot be deleted",
    "~algo": "~algo: settings cannot be deleted",
    "task.name=MatrixGame": "task.name=MatrixGame is not what was chosen; choose by task=<name>",
    "experiment=mpe/simple_spread-discrete/had3qn": (
        "experiment=mpe/simple_spread-discrete/had3qn sets task.version, which the chosen task and algorithm do not"
    ),
    "preset=foo": "preset foo is unknown; possible: ShadowHandOver/... (2), none",
    "preset=ShadowHandOver/hapo": "preset ShadowHandOver/hapo is unknown; did you mean ShadowHandOver/happo?",
    "preset=null": "preset null is unknown; possible: ",
    "task.name=foo": "task.name=foo is not what was chosen",
    "algo.name=mappo": "algo.name=mappo is not what was chosen",
}


@pytest.mark.parametrize("word", list(LINES))
def test_words_that_would_pass_unseen_are_refused(word):
    with pytest.raises(ValueError, match=re.escape(LINES[word])) as error:
        check_command_line([*TINY, word])
    assert "\n" not in str(error.value)
    check_command_line(TINY)


@pytest.mark.parametrize("content", [b"\xff\xfe\0", b"[" * 5000, b"a: 2001-99-99", b"? [a]\n: 1"])
def test_settings_that_no_reader_can_read(content, tmp_path):
    (tmp_path / "config.yaml").write_bytes(content)
    assert named_task([f"resume={tmp_path}"]) == ""
    with pytest.raises(ValueError, match="config.yaml is (not readable|damaged)"):
        run_folder.saved_config(tmp_path)


def test_keys_that_are_no_words_differ():
    assert differences({"seed": 1, 5: 2}, {"seed": 1}) == ["5: was 2, now None"]


def test_records_of_a_running_run_are_read_up_to_its_last_whole_row(tmp_path):
    (tmp_path / "metrics.csv").write_text("iteration,steps,episode/return\n1,10,0.5\n2,20,1.5\n3,3")
    assert curves.load(tmp_path)["steps"].tolist() == [10.0, 20.0]


@pytest.mark.parametrize(
    "content, message",
    [
        (b"iteration,steps\n1,x\n", "metrics.csv is damaged"),
        (b"iteration,foo\n1,2\n", "has no column steps"),
        (b"iteration,steps\n\xff,1\n", "metrics.csv is damaged"),
        (b"iteration,st", "no metrics.csv with iterations"),
    ],
)
def test_damaged_records_are_one_line(content, message, tmp_path):
    (tmp_path / "metrics.csv").write_bytes(content)
    with pytest.raises(ValueError, match=message):
        curves.load(tmp_path)


RUN = str(ROOT / "tests" / "support" / "old_runs" / "SumGame_hatd3")
WORDS = {  # of a command, by what it says
    "play speed=-1": "speed=-1.0 must be within 0.01 and 100",
    "play speed=nan": "speed=nan must be within 0.01 and 100",
    "play episodes=0": "episodes=0 must be within 1 and 1000000",
    "evaluate num_envs=0": "num_envs=0 must be within 1 and 1000000",
    "evaluate json=/": "json=/ names no file",
    "evaluate json=nowhere/x.json": "json=nowhere/x.json: there is no folder ",
    "plot smooth=0": "smooth=0 must be within 1 and ",
    "plot out=": "out=. names no file",
    "plot out=nowhere/x.png": "out=nowhere/x.png: there is no folder ",
    "report out=": "out=. names no file",
    "table window=0": "window=0 must be within 1 and ",
    "table at=": "at=: give million steps",
    "table at=-1": "at=-1: give million steps",
    "table at=nan": "at=nan: give million steps",
    "theory rate=nan": "rate=nan must be within 0 and 1000",
    "theory rate=inf": "rate=inf must be within 0 and 1000",
    "theory games=0": "games=0 must be within 5 and ",
    "theory iterations=0": "iterations=0 must be within 1 and ",
}


@pytest.mark.parametrize("words", list(WORDS))
def test_impossible_values_of_commands_are_refused_before_anything_is_computed(words, monkeypatch, tmp_path, capsys):
    command, word = words.split()
    if command in ("plot", "theory"):
        pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    run = [] if command == "theory" else [RUN]
    monkeypatch.setattr(sys, "argv", [f"harl-{command}", *run, word])
    with pytest.raises(SystemExit) as stop:
        getattr(entry, command)()
    error = capsys.readouterr().err
    assert stop.value.code == 2 and error.count("\n") == 1, error
    assert f"harl-{command}: {WORDS[words]}" in error
    assert not list(tmp_path.iterdir())
