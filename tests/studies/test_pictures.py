"""harl-plot, harl-table and harl-report over studies, patterns and folders: groups by task and algorithm."""

import json
import re
import sys
from html.parser import HTMLParser

import pytest
from support.commands import run
from support.study_runs import write_run, write_study

from harl_isaac.cli import plot
from harl_isaac.studies import extras
from harl_isaac.studies.collection import collect
from harl_isaac.studies.index import load_study

SCORES = {
    ("mpe/simple_spread", "happo"): [4.0, 6.0, 8.0],
    ("mpe/simple_spread", "mappo"): [1.0, 2.0],
    ("SumGame", "happo"): [10.0, 20.0],
    ("SumGame", "mappo"): [5.0, 8.0],
}


@pytest.fixture
def study(tmp_path):
    return write_study(tmp_path / "studies" / "two", SCORES)


def collected(**words):
    return collect({**plot.DEFAULTS, **{key: str(value) for key, value in words.items()}})


def test_a_study_a_pattern_and_a_folder_are_the_same_runs(study):
    for words in ({"study": study}, {"runs": study}, {"runs": f"{study}/runs/**/*-seed*"}, {"runs": study / "runs"}):
        if "**" in str(words):
            words = {"runs": f"{study}/runs/mpe/*/*/*,{study}/runs/SumGame/*/*"}
        found = collected(**words)
        assert found.grouped and len(found.runs) == 9
        assert {(run.title, run.label) for run in found.runs} == set(SCORES)


def test_a_point_s_earlier_attempts_are_not_of_the_study(study):
    old = study / "runs" / "SumGame" / "happo" / "20250101-120000-seed1"
    write_run(old, [99.0])
    (study / "runs" / "SumGame" / "mappo" / "20260101-120000-seed2" / "metrics.csv").write_text("")
    found = collected(study=study)
    assert old not in [run.folder for run in found.runs] and len(found.runs) == 8
    assert [name.rpartition("/")[2] for name in found.left_out] == ["20260101-120000-seed2"]
    assert load_study(study).run_folder(load_study(study).points[5]).name == "20260101-120000-seed1"


def test_runs_of_some_algorithms_alone_are_taken_in_their_order(study):
    found = collected(study=study, only="mappo,happo")
    assert [run.label for run in found.runs] == ["mappo"] * 4 + ["happo"] * 5
    assert {run.label for run in collected(runs=study, only="mappo").runs} == {"mappo"}


def test_run_folders_named_one_by_one_stay_single(study):
    folder = next(study.glob("runs/SumGame/happo/*-seed1"))
    found = collected(runs=folder)
    assert not found.grouped and found.runs[0].label == "20260101-120000-seed1" and found.runs[0].title == ""


@pytest.mark.parametrize("kind", ["curves", "scores", "profiles", "improvement"])
def test_every_kind_of_picture_is_drawn(kind, study, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("scipy", reason="scipy is not installed")
    result = run(str(study), f"kind={kind}", "metric=eval/return", "x=both", cwd=tmp_path, script="scripts/plot.py")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    assert (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG"


def test_the_table_of_a_study_has_a_row_for_each_task_and_algorithm(study, tmp_path):
    pytest.importorskip("scipy", reason="scipy is not installed")
    words = [f"study={study}", "metric=eval/return", "marl_eval=all.json"]
    lines = run(*words, cwd=tmp_path, script="scripts/table.py").stdout.splitlines()
    assert lines[:4] == [
        "| task | | runs | end |",
        "|---|---|---|---|",
        "| mpe/simple_spread | happo | 3 | 7.0 +- 2.0 |",
        "| mpe/simple_spread | mappo | 2 | 2.5 +- 0.7 |",
    ]
    content = json.loads((tmp_path / "all.json").read_text())
    assert list(content) == ["mpe", "harl_isaac"]
    first = content["mpe"]["simple_spread"]["happo"]["seed_1"]
    assert first["step_3"] == {"step_count": 3000, "return": [5.0], "length": [5.0]}
    assert first["absolute_metrics"] == {"return": [5.0], "length": [5.0]}
    lines = run(str(study), "average=iqm", "at=0.002,end", cwd=tmp_path, script="scripts/table.py").stdout.splitlines()
    assert lines[4] == "| SumGame | happo | 2 | 3.8 [2.5, 5.0] | 7.5 [5.0, 10.0] |"


def test_a_table_compares_algorithms_over_all_tasks(study, tmp_path):
    pytest.importorskip("scipy", reason="scipy is not installed")

    def lines(*words):
        result = run(str(study), *words, cwd=tmp_path, script="scripts/table.py")
        assert result.returncode == 0, result.stderr
        return result.stdout.splitlines()

    assert lines("kind=improvement", "window=1000") == [
        "| 2 tasks | runs | probability of a better return |",
        "|---|---|---|",
        "| happo > mappo | 5, 4 | 1.00 [1.00, 1.00] |",
    ]
    early = lines("kind=improvement", "window=1000", "at=0.002")[2]  # 2, 3, 4 and 0.5, 1; 5, 10 and 2.5, 4
    assert early == "| happo > mappo | 5, 4 | 1.00 [1.00, 1.00] |"
    first = lines("kind=scores", "metric=eval/return")
    assert first[0] == "| 2 tasks, scaled eval/return | runs | mean | iqm |"
    happo = [(value - 1) / 7 for value in (4, 6, 8)] + [(value - 5) / 15 for value in (10, 20)]
    assert first[2].startswith(f"| happo | 5 | {sum(happo) / 5:.2f} [")
    refused = run(str(study), "kind=scores", "at=1,2", cwd=tmp_path, script="scripts/table.py")
    assert refused.returncode == 2 and "at=1,2: kind=scores compares at one milestone; give one" in refused.stderr


@pytest.mark.parametrize("module", ["matplotlib", "scipy.stats", "jinja2"])
def test_a_missing_package_is_one_line_with_the_extra_s_name(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(ValueError, match=r"is not installed here: pip install 'harl-isaac\[plot\]'"):
        extras.needed(module)


class Page(HTMLParser):
    """What a page loads, and its text."""

    def __init__(self, text):
        super().__init__()
        self.loads = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.loads += [value for key, value in attrs if key in ("src", "href", "data", "srcset")]
        assert tag not in ("script", "link", "iframe")

    def handle_data(self, data):
        self.text += data + " "


def test_a_report_needs_nothing_but_itself(study, tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    pytest.importorskip("scipy", reason="scipy is not installed")
    index = json.loads((study / "study.json").read_text())
    index["points"][-1].update(status="failed", error="<script>alert(1)</script> & more")
    (study / "study.json").write_text(json.dumps(index))
    result = run(f"study={study}", "pictures=none", cwd=tmp_path, script="scripts/report.py")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "report.html").read_text()
    page = Page(text)
    assert len(page.loads) == 2 + 3 and all(source.startswith("data:image/svg+xml;base64,") for source in page.loads)
    assert not re.search(r"https?://", re.sub(r"base64,[\w+/=]+", "", text)) and "<script>" not in text
    for words in (
        "9 runs: 2 task(s), 2 algorithm(s); 8 finished, 1 failed",
        "7 [5, 9]",  # mean over three seeds and its interval
        "failed: <script>alert(1)</script> & more",
        "algo.lr",
        "Python 3.11.9 on Linux-6.1: harl-isaac 0.1.0, torch 2.13.0",
    ):
        assert words in page.text, words


def test_a_report_shows_what_the_policies_do_or_says_why_not(tmp_path):
    pytest.importorskip("scipy", reason="scipy is not installed")
    from support.commands import ROOT

    old = ROOT / "tests" / "support" / "old_runs"
    words = [f"{old}/SumGame_hatd3", f"{old}/simple_spread_happo", "out=r.html"]
    result = run(*words, cwd=tmp_path, script="scripts/report.py")
    assert result.returncode == 0, result.stderr
    text = (tmp_path / "r.html").read_text()
    assert text.count("data:image/png;base64,") == 1
    assert "no picture: SumGame has no picture: it is not simulated by MuJoCo" in text


@pytest.mark.parametrize(
    "script, words, message",
    [
        ("plot.py", ["study=nowhere"], "study=nowhere: it holds no study.json; give a study's folder, or runs="),
        ("plot.py", ["runs=none/*"], "no run folder in none/*"),
        ("plot.py", ["runs=runs", "kind=pie"], "kind=pie; possible: curves, scores, profiles, improvement"),
        ("plot.py", ["runs=runs", "average=median"], "average=median; possible: none, mean, iqm"),
        ("plot.py", ["runs=runs", "only=happo,mapo"], "only=happo,mapo: no run has the label mapo; possible: happo"),
        ("plot.py", ["runs=runs", "kind=improvement"], "compares two algorithms or more; the runs are all of happo"),
        ("table.py", ["runs=runs", "average=median"], "average=median; possible: deviation, mean, iqm"),
        ("table.py", ["runs=runs", "kind=curves"], "kind=curves; possible: values, improvement, scores"),
        (
            "table.py",
            ["runs=runs", "kind=improvement", "at=0.002"],
            "two algorithms or more; the runs are all of happo",
        ),
        ("table.py", ["runs=runs", "metric=eval/speed"], "metric=eval/speed: happo has none; possible: count, return"),
        ("report.py", ["runs=runs", "pictures=gif"], "pictures=gif; possible: strip, video, none"),
        ("report.py", [], "give runs=<run folder>"),
    ],
)
def test_mistakes_are_named_in_one_line(script, words, message, tmp_path):
    write_run(tmp_path / "runs" / "SumGame" / "happo" / "now-seed1", [1.0, 2.0])
    result = run(*words, cwd=tmp_path, script="scripts/" + script)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
