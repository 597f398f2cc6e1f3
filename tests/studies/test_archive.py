"""harl-archive: a study's small copy, whose curves, tables and pictures are the study's."""

import re
import shutil

import numpy as np
import pytest
import yaml
from support.commands import run
from support.study_runs import write_run, write_study

from harl_isaac.studies.archive import archive_study, thinned
from harl_isaac.studies.index import Key, load_study
from harl_isaac.training import curves

SCORES = {("mpe/simple_spread", "happo"): [4.0, 6.0], ("SumGame", "happo"): [10.0], ("SumGame", "mappo"): [5.0, 8.0]}
STEP = 1000


@pytest.fixture
def study(tmp_path):
    folder = write_study(tmp_path / "studies" / "three", SCORES)
    long = folder / "runs" / "SumGame" / "happo" / "20260101-120000-seed1"
    shutil.rmtree(long)
    write_run(long, [float(i) for i in range(1, 241)], step=STEP)
    return folder


def archive(*words, cwd):
    return run(*words, cwd=cwd, script="scripts/archive.py")


def read_table(*words, cwd):
    result = run(*words, cwd=cwd, script="scripts/table.py")
    assert result.returncode == 0, result.stderr
    return result.stdout


def test_tables_pictures_and_reports_take_an_archive_for_its_study(study, tmp_path):
    settings = study / "runs" / "SumGame" / "happo" / "20260101-120000-seed1" / "config.yaml"
    settings.write_text(settings.read_text() + "run_root: /home/someone/runs\nresume: /home/someone/runs/x\n")
    result = archive(str(study), "out=data/three", "points=60", cwd=tmp_path)
    assert result.returncode == 0 and result.stdout == "data/three: 5 of 5 runs\n", result.stderr
    copy = tmp_path / "data" / "three"
    for words in (["at=end"], ["at=0.04,0.2", "window=20000"], ["metric=eval/return"], ["metric=success"]):
        assert read_table(f"study={copy}", *words, cwd=tmp_path) == read_table(f"study={study}", *words, cwd=tmp_path)
    assert [point.status for point in load_study(copy).points] == ["finished"] * 5
    texts = {path: path.read_text() for path in copy.rglob("*") if path.is_file()}
    assert not [path for path, text in texts.items() if "someone" in text or str(tmp_path) in text]
    assert yaml.safe_load(texts[copy / settings.relative_to(study)])["algo"] == {"name": "happo", "lr": 0.1}
    for script, out in (("plot.py", "c.png"), ("report.py", "r.html")):
        drawn = run(f"study={copy}", f"out={out}", cwd=tmp_path, script="scripts/" + script)
        assert drawn.returncode == 0 and (tmp_path / out).stat().st_size > 1000, drawn.stderr


def literal_row(records, first, last):
    """Episodes' number and mean over iterations first..last, and the minutes up to the last."""
    rows = range(first - 1, last)
    episodes = []
    for i in rows:
        if np.isfinite(records["episode/return"][i]):
            episodes += [records["episode/return"][i]] * int(records["episode/count"][i])
    seconds = sum(STEP / rate for rate in records["time/steps_per_second"][:last])
    return len(episodes), np.mean(episodes) if episodes else np.nan, seconds / 60


@pytest.mark.parametrize("points, each", [(60, 4), (7, 35), (240, 1), (1000, 1), (100, 3)])
def test_a_row_of_a_thinned_curve_has_its_iterations_episodes(points, each):
    random = np.random.default_rng(points)
    count = random.integers(0, 3, 240).astype(float)
    records = {
        "iteration": np.arange(1.0, 241),
        "steps": STEP * np.arange(1.0, 241),
        "episode/count": count,
        "episode/return": np.where(count > 0, random.normal(size=240), np.nan),
        "actor/kl": np.zeros(240),
        "time/steps_per_second": random.uniform(100, 900, 240),
    }
    found = thinned(records, points)
    assert "actor/kl" not in found and len(found["steps"]) == -(-240 // each) <= points
    time = curves.minutes(found)
    for row, first in enumerate(range(1, 241, each)):
        last = min(first + each - 1, 240)
        number, mean, minutes = literal_row(records, first, last)
        assert found["iteration"][row] == last and found["steps"][row] == STEP * last
        assert found["episode/count"][row] == number
        np.testing.assert_allclose([found["episode/return"][row], time[row]], [mean, minutes])


def test_a_running_mean_is_over_iterations_where_a_row_stands_for_several(study, tmp_path):
    run_folder = study / "runs" / "SumGame" / "happo" / "20260101-120000-seed1"
    whole = curves.load(run_folder)
    whole["episode/return"] = np.sin(whole["steps"] / 30_000)
    few = thinned(whole, 48)  # of five iterations each
    drawn = [
        curves.series(curves.LabeledRun("", records, {}, "", run_folder), "return", 20) for records in (whole, few)
    ]
    np.testing.assert_allclose(drawn[1].values[4:], drawn[0].values[4::5][4:])
    np.testing.assert_allclose(drawn[1].minutes, drawn[0].minutes[4::5])


def test_an_archive_follows_its_study(study, tmp_path):
    out = tmp_path / "copy"
    archive_study(load_study(study), out, 10)
    more = load_study(study)
    more.add([Key("SumGame", "mappo", 3)])
    write_run(study / "runs" / "SumGame" / "mappo" / "20260102-120000-seed2", [7.0])
    more.save()
    assert archive_study(more, out, 10) == 5
    names = [path.name for path in sorted(out.glob("runs/SumGame/mappo/*"))]
    assert names == ["20260101-120000-seed1", "20260102-120000-seed2"]
    assert [point.status for point in load_study(out).points] == ["finished"] * 5 + ["waiting"]


@pytest.mark.parametrize(
    "out, message",
    [
        ("studies/three", "out=studies/three is the study itself; give another folder"),
        ("other", "out=other holds another study, with runs that studies/three lacks; give another folder"),
        ("twin", "out=twin is a study with checkpoints, no archive; give another folder"),
        ("full", "out=full is no archive of a study; give a new folder"),
        ("full/file", "out=full/file is no archive of a study; give a new folder"),
    ],
)
def test_an_archive_overwrites_nothing_else(out, message, study, tmp_path):
    write_study(tmp_path / "other", {("SumGame", "hatrpo"): [1.0]})
    twin = write_study(tmp_path / "twin", {("SumGame", "happo"): [1.0]})
    next(twin.glob("runs/*/*/*")).joinpath("checkpoints").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    result = archive("studies/three", f"out={out}", cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "words, message",
    [
        (["out=x"], "give study=<folder>; --help says more"),
        (["studies/three"], "give out=<folder>; --help says more"),
        (["nowhere", "out=x"], "no study in nowhere: it holds no study.json"),
        (["studies/three", "out=x", "points=1"], "points=1 must be within 2 and 1000000"),
        (["studies/three", "out=x", "point=9"], "point=9 is unknown; possible: study=..., out=..., points=..."),
    ],
)
def test_a_mistake_is_named_in_one_line(words, message, study, tmp_path):
    result = archive(*words, cwd=tmp_path)
    assert result.returncode == 2 and re.search(re.escape(message), result.stderr), result.stderr
    assert result.stderr.count("\n") == 1 and not (tmp_path / "x").exists()
