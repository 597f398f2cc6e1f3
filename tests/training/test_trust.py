"""Run folders from a stranger: opening one runs nobody else's code, and what is damaged is one line."""

import re
import shutil
import zipfile

import pytest
import torch
import yaml
from support.commands import ROOT, run

from harl_isaac.training import checkpoint

OLD_RUN = ROOT / "tests" / "support" / "old_runs" / "SumGame_hatd3"
MODULE = """
from pathlib import Path
from support.pettingzoo_envs import parallel_env as make

def touch(**kwargs):
    Path(kwargs.pop("path", "pwned")).touch()
    return make(**kwargs)
"""
TINY = [
    "task=pettingzoo", "task.workers=1", "task.max_steps=5", "algo=happo", "num_envs=2", "algo.rollout_length=3",
    "algo.hidden=[8]", "total_steps=6", "device=cpu", "eval.interval=0",
]  # fmt: skip


@pytest.fixture
def folder(tmp_path):
    """A copy of a run's folder."""
    copy = tmp_path / "run"
    shutil.copytree(OLD_RUN, copy)
    return copy


def opened(folder, *words, cwd):
    """The three commands that open a folder."""
    yield run(f"resume={folder}", "total_steps=120", *words, cwd=cwd)
    yield run(f"run={folder}", "episodes=2", "num_envs=2", *words, script="scripts/evaluate.py", cwd=cwd)
    yield run(f"run={folder}", "episodes=1", "out=strip.png", *words, script="scripts/play.py", cwd=cwd)


def refused(folder, match, cwd):
    """All three commands end with one line that has `match`, and exit code 2; play may find first that there is
    nothing to be seen.
    """
    for result, expected in zip(opened(folder, cwd=cwd), (match, match, f"{match}|SumGame has no picture")):
        assert result.returncode == 2, result.stdout + result.stderr
        assert len(result.stderr.strip().split("\n")) == 1, result.stderr
        assert re.search(expected, result.stderr), result.stderr


def edit(folder, change):
    file = folder / "config.yaml"
    config = yaml.safe_load(file.read_text())
    change(config)
    file.write_text(yaml.safe_dump(config))


@pytest.mark.parametrize("env", ["os:system", "shutil:rmtree", "mine:touch"])
def test_a_folder_runs_no_code_that_it_names(env, folder, tmp_path):
    settings = {"name": "pettingzoo", "env": env, "kwargs": {"command": "touch pwned", "path": "pwned"}, "workers": 1}
    edit(folder, lambda config: config.update(task=settings))
    (folder / "overrides.yaml").write_text(yaml.safe_dump(["task=pettingzoo", f"task.env={env}", "algo=hatd3"]))
    for result in opened(folder, cwd=tmp_path):
        assert result.returncode == 2
        assert "trust=true" in result.stderr or "cannot resume" in result.stderr, result.stderr
    assert not list(tmp_path.rglob("pwned"))


def process(*words, cwd, script="train.py"):
    """`python script words` with `cwd` and the tests on the module path, in a process of its own."""
    return run(*words, cwd=cwd, script=script, PYTHONPATH=f"{cwd}:{ROOT / 'tests'}")


def test_a_module_of_ones_own_is_opened_with_consent(tmp_path):
    (tmp_path / "mine.py").write_text(MODULE)
    first = process(*TINY, "task.env=mine:touch", cwd=tmp_path)
    assert first.returncode == 0, first.stderr
    (folder,) = tmp_path.glob("runs/pettingzoo/happo/*")
    (tmp_path / "pwned").unlink()
    refusal = run(f"resume={folder}", "total_steps=12", cwd=tmp_path)
    assert refusal.returncode == 2 and "task.env=mine:touch" in refusal.stderr and not (tmp_path / "pwned").exists()
    for consent in ("trust=true", "task.env=mine:touch"):
        again = process(f"resume={folder}", "total_steps=12", consent, cwd=tmp_path)
        assert again.returncode == 0, again.stderr
    words = [f"run={folder}", "episodes=2", "num_envs=1"]
    assert run(*words, script="scripts/evaluate.py", cwd=tmp_path).returncode == 2
    assert process(*words, "trust=true", script="scripts/evaluate.py", cwd=tmp_path).returncode == 0
    assert "trust=true" not in (folder / "overrides.yaml").read_text()


OVERRIDES = {
    "--config-dir": ["--config-dir=/tmp/x", "task=SumGame"],
    "hydra": ["hydra.run.dir=/tmp/x", "task=SumGame"],
    "callbacks": ["+hydra.callbacks.x._target_=os.system", "task=SumGame"],
    "deletion": ["~algo"],
    "consent": ["trust=true", "task=SumGame"],
    "interpolation": ["run_root=${oc.env:HOME}", "task=SumGame"],
    "empty": None,
    "numbers": [1, 2],
    "a dict": {"task": "SumGame"},
    "a string": "task=SumGame",
}


@pytest.mark.parametrize("kind", list(OVERRIDES))
def test_overrides_of_a_folder_are_plain_words_of_settings(kind, folder, tmp_path):
    (folder / "overrides.yaml").write_text(yaml.safe_dump(OVERRIDES[kind]))
    result = run(f"resume={folder}", "total_steps=120", cwd=tmp_path)
    assert result.returncode == 2 and "overrides.yaml" in result.stderr and result.stderr.count("\n") == 1, (
        result.stderr
    )
    assert list(tmp_path.iterdir()) == [folder]


CONFIGS = {
    "empty": ("", "expected a run's settings, found NoneType"),
    "a list": ("- 1\n- 2\n", "expected a run's settings, found list"),
    "without a task": ("algo: {name: hatd3}\n", "has no task.name"),
    "an unknown task": ("task: {name: Nothing}\nalgo: {name: hatd3}\n", "task 'Nothing', which is unknown"),
    "an unknown algorithm": ("task: {name: SumGame}\nalgo: {name: foo}\n", "algo 'foo', which is unknown"),
    "an unknown key": (
        "task: {name: SumGame, gravity: 3}\nalgo: {name: hatd3}\n",
        "config.yaml is damaged: task: .*gravity",
    ),
    "binary": ("\0\1\2", "config.yaml is not readable"),
}


@pytest.mark.parametrize("kind", list(CONFIGS))
def test_a_damaged_configuration_is_one_line(kind, folder, tmp_path):
    text, message = CONFIGS[kind]
    (folder / "config.yaml").write_text(text)
    refused(folder, message, tmp_path)


def test_every_flipped_byte_of_a_checkpoints_content_is_found(folder):
    file = folder / "checkpoints" / "latest.pt"
    whole = file.read_bytes()
    torch.manual_seed(0)
    with zipfile.ZipFile(file) as archive:
        records = [info for info in archive.infolist() if info.file_size]
    for info in records:
        start = (
            info.header_offset
            + 30
            + len(info.filename)
            + int.from_bytes(whole[info.header_offset + 28 : info.header_offset + 30], "little")
        )
        place = start + int(torch.randint(info.file_size, ()))
        file.write_bytes(whole[:place] + bytes([whole[place] ^ 4]) + whole[place + 1 :])
        with pytest.raises(ValueError, match="latest.pt is damaged"):
            checkpoint.load(file)
    file.write_bytes(whole)
    assert checkpoint.load(file)["format"] == checkpoint.FORMAT


def rewrite(folder, change):
    """Change the content of both checkpoints."""
    for file in (folder / "checkpoints").iterdir():
        state = torch.load(file, weights_only=True)
        change(state)
        torch.save(state, file)


STATES = {
    "another algorithm": (
        lambda state: state.update(algo="happo"),
        "algo=happo, the run folder's settings have algo=hatd3",
    ),
    "another task": (lambda state: state.update(task="MatrixGame"), "is of task=MatrixGame"),
    "no sizes": (lambda state: state.pop("sizes"), "does not fit .*sizes"),
    "no actors": (lambda state: state["learner"].pop("actors"), "does not fit .*actors"),
    "another width": (
        lambda state: state["learner"]["actors"].update({"agents.0.layers.0.weight": torch.zeros(7, 7)}),
        "does not fit .*StackedActors|does not fit .*OffPolicyActors",
    ),
    "not finite": (
        lambda state: state["learner"]["actors"]["agents.0.layers.0.weight"].fill_(float("nan")),
        "agents.0.layers.0.weight is not finite",
    ),
}


@pytest.mark.parametrize("kind", list(STATES))
def test_a_checkpoint_of_something_else_is_one_line(kind, folder, tmp_path):
    change, message = STATES[kind]
    rewrite(folder, change)
    refused(folder, message, tmp_path)
