"""The tutorials' code and commands run as they stand, with tiny sizes."""

import re
import shlex

import pytest
import torch
from support.commands import ROOT, TINY, run

from harl_isaac.check_env import check_env

PAGES = {"own_task": 30, "own_algorithm": 30, "own_hand_task": 40}  # and the most lines of code that they ask for


def blocks(page, language):
    return re.findall(rf"```{language}\n(.*?)```", (ROOT / "docs" / "tutorials" / f"{page}.md").read_text(), re.S)


def statements(code):
    """Lines of code without imports and empty ones."""
    return [line for line in code.splitlines() if line.strip() and not line.lstrip().startswith(("from ", "import "))]


def mine(page):
    """The page's first program, with the methods that later blocks add to its last class."""
    first, *others = blocks(page, "python")
    return first + "".join("\n" + block for block in others if block.startswith(" "))


@pytest.fixture(params=sorted(PAGES))
def page(request, tmp_path):
    (tmp_path / "mine.py").write_text(mine(request.param))
    return request.param


def test_the_commands_run(page, tmp_path):
    assert len(statements(blocks(page, "python")[0])) <= PAGES[page]
    commands = [line for block in blocks(page, "bash") for line in block.strip().splitlines()]
    assert len(commands) >= 2
    for command in commands:
        folders = sorted(tmp_path.glob("runs/*/happo/*"))
        _, script, *words = shlex.split(command.replace("<run folder>", str(folders[0]) if folders else ""))
        if script == "train.py" and "resume" not in command:
            words = [word for word in words if "num_envs" not in word] + TINY
        result = run(*words, cwd=tmp_path, script=script)
        assert result.returncode == 0 and result.stderr == "", (command, result.stderr)


def test_environments_keep_the_contract(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "mine.py").write_text(mine("own_task"))
    for block in blocks("own_task", "python")[1:]:
        if not block.startswith(" "):
            exec(block, {"torch": torch})
    names = {"__name__": "keep_up"}
    exec(blocks("own_hand_task", "python")[0], names)
    pytest.importorskip("mujoco", reason="MuJoCo is not installed")
    check_env(lambda: names["KeepUp"](names["KeepUpCfg"](episode_length=9), 3, torch.device("cpu")), steps=20)
