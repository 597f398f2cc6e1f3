"""Run folders of version 0.1.0 at commit 6e57f1a (checkpoint format 2): resumed, evaluated and played as ever.

`expected_metrics.csv` and `expected_eval.csv` beside a run are the records of that version when it resumed the run.
"""

import csv
import shutil

import pytest
import torch
import yaml
from support.commands import ROOT, TINY, run

from harl_isaac.training import checkpoint

OLD_RUNS = ROOT / "tests" / "support" / "old_runs"
TOTAL_STEPS = {"simple_spread_happo": 100, "SumGame_hatd3": 180}  # with which they were resumed


def rows(path):
    return list(csv.DictReader(path.open()))


def assert_same_numbers(found, expected):
    """Rows of a run's records are equal but for times."""
    assert [row["iteration"] for row in found] == [row["iteration"] for row in expected]
    for row, numbers in zip(found, expected):
        assert row.keys() == numbers.keys()
        for name, text in numbers.items():
            if not name.startswith("time/"):
                assert float(row[name]) == pytest.approx(float(text), rel=1e-4, nan_ok=True), name


@pytest.fixture(params=sorted(TOTAL_STEPS))
def old_run(request, tmp_path):
    """A copy of an old run's folder, without the expected numbers."""
    folder = tmp_path / request.param
    shutil.copytree(OLD_RUNS / request.param, folder, ignore=shutil.ignore_patterns("expected_*"))
    return folder


def test_an_old_run_goes_on_with_the_numbers_that_it_had(old_run, tmp_path):
    total_steps = TOTAL_STEPS[old_run.name]
    before = len(rows(old_run / "metrics.csv"))
    result = run(f"resume={old_run}", f"total_steps={total_steps}", cwd=tmp_path)
    assert result.returncode == 0 and f"{total_steps} steps" in result.stdout, result.stderr
    found = rows(old_run / "metrics.csv")
    assert len(found) > before
    assert_same_numbers(found, rows(OLD_RUNS / old_run.name / "expected_metrics.csv"))
    assert_same_numbers(rows(old_run / "eval.csv"), rows(OLD_RUNS / old_run.name / "expected_eval.csv"))
    assert torch.load(old_run / "checkpoints" / "latest.pt", weights_only=True)["format"] == checkpoint.FORMAT


def test_an_old_run_is_evaluated(old_run, tmp_path):
    words = [f"run={old_run}", "episodes=4", "num_envs=2"]
    result = run(*words, cwd=tmp_path, script="scripts/evaluate.py")
    assert result.returncode == 0, result.stderr
    assert "best.pt: 4 episodes" in result.stdout and "return" in result.stdout


def test_an_old_run_is_played(tmp_path):
    pytest.importorskip("imageio.v3", reason="imageio is not installed")
    words = [f"run={OLD_RUNS / 'simple_spread_happo'}", "out=strip.png", "episodes=1"]
    result = run(*words, cwd=tmp_path, script="scripts/play.py")
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "strip.png").read_bytes()[:4] == b"\x89PNG"


@pytest.mark.parametrize("name", sorted(TOTAL_STEPS))
def test_a_checkpoint_of_format_2_is_read_with_the_keys_of_format_3(name):
    path = OLD_RUNS / name / "checkpoints" / "latest.pt"
    old = torch.load(path, map_location="cpu", weights_only=True)
    new = checkpoint.load(path)
    assert old["format"] == 2 and new["format"] == 3
    assert "optimisers" in old["learner"] and "optimisers" not in new["learner"]
    assert len(new["learner"]["optimizers"]) == len(old["learner"]["optimisers"])
    if name == "SumGame_hatd3":
        assert len(new["learner"]["targets"]) == len(old["learner"]["followers"]) == 2
    else:
        assert "optimizer" in new["learner"]["critics"][0] and "optimiser" not in new["learner"]["critics"][0]
    assert {key for key in old if key not in ("format", "learner")} == {
        key for key in new if key not in ("format", "learner")
    }
    assert old["sizes"] == new["sizes"] and old["counters"] == new["counters"]


def test_the_upgrade_renames_keys_in_nested_dicts_and_lists_and_nothing_else():
    value = torch.ones(2)
    old = {
        "actors": {"net": value},
        "critics": [{"optimiser": {"state": {0: value}}, "hidden": None}],
        "order": (3, (1, 2), None),
        "optimisers": [],
        "followers": [],
    }
    assert checkpoint.upgraded_learner(old) == {
        "actors": {"net": value},
        "critics": [{"optimizer": {"state": {0: value}}, "hidden": None}],
        "order": (3, (1, 2), None),
        "optimizers": [],
        "targets": [],
    }
    assert "optimisers" in old


def test_a_run_that_began_before_settings_were_added_deeper_goes_on(tmp_path):
    """Groups of settings, and settings within a group, that the run's config.yaml does not have."""
    result = run("task=ShadowHandOver", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    (file,) = tmp_path.glob("runs/*/*/*/config.yaml")
    config = yaml.safe_load(file.read_text())
    del config["task"]["randomization"]
    del config["task"]["curriculum"]["start"]
    del config["task"]["physics"]["gains"]["kp"]
    file.write_text(yaml.safe_dump(config))
    other = run("resume=last", "total_steps=36", "task.randomization.preset=bidex", cwd=tmp_path)
    assert other.returncode == 2 and "task.randomization.preset: was none, now bidex" in other.stderr
    result = run("resume=last", "total_steps=36", cwd=tmp_path)
    assert result.returncode == 0 and "36 steps" in result.stdout, result.stderr
