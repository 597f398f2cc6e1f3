"""Tables and pictures of runs' metrics.csv: scripts/table.py and scripts/plot.py."""

import csv
from pathlib import Path

import numpy as np
import pytest
from support.commands import run_command

from harl_isaac.cli import plot
from harl_isaac.studies import charts
from harl_isaac.training import curves

HEADER = "iteration,steps,episode/count,episode/return,episode/success,time/steps_per_second"


def write_run(folder: Path, returns, count=2, success=0.5):
    """A run of 1000 steps an iteration with `count` episodes each, or where the return is nan none."""
    folder.mkdir(parents=True)
    rows = [
        f"{i + 1},{1000 * (i + 1)},{(0 if np.isnan(value) else count + i)},{value},{success},500"
        for i, value in enumerate(returns)
    ]
    (folder / "metrics.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    return folder


def literal_mean(folder: Path, upto: float, window: float) -> float:
    """Over single episodes."""
    episodes = []
    for row in csv.DictReader((folder / "metrics.csv").open()):
        if upto - window < float(row["steps"]) <= upto:
            episodes += [float(row["episode/return"])] * int(row["episode/count"])
    return sum(episodes) / len(episodes)


def test_the_table_holds_means_over_episodes_and_deviations_over_runs(tmp_path):
    first = write_run(tmp_path / "first", [1.0, float("nan"), 4.0, 8.0])
    second = write_run(tmp_path / "second", [2.0, 3.0, 5.0, float("nan")], count=7)
    short = write_run(tmp_path / "short", [5000.0, 7000.0], success=1.0)
    words = [f"runs={first},{second},{short}", "labels=HAPPO,HAPPO,MAPPO", "at=0.002,0.004", "window=2000"]
    result = run_command("scripts/table.py", *words, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    head, rule, happo, mappo = result.stdout.splitlines()
    assert head == "| | runs | 0.002M | 0.004M |" and rule == "|---|---|---|---|"
    cells = []
    for upto in (2000, 4000):
        two = [literal_mean(folder, upto, 2000) for folder in (first, second)]
        cells.append(f"{np.mean(two):.1f} +- {np.std(two, ddof=1):.1f}")
    assert happo == f"| HAPPO | 2 | {' | '.join(cells)} |"
    assert mappo == f"| MAPPO | 1 | {literal_mean(short, 2000, 2000):.0f} | - |"
    shares = run_command("scripts/table.py", *words[:3], "metric=success", cwd=tmp_path).stdout.splitlines()
    assert shares[2:] == ["| HAPPO | 2 | 50.0 +- 0.0 % | 50.0 +- 0.0 % |", "| MAPPO | 1 | 100.0 % | - |"]


def test_curves_are_drawn_against_steps_and_minutes(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    folder = write_run(tmp_path / "run", [1.0, float("nan"), 4.0])
    result = run_command("scripts/plot.py", f"runs={folder}", "x=both", cwd=tmp_path)
    assert result.returncode == 0 and (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG", result.stderr
    columns = curves.load(folder)
    np.testing.assert_allclose(curves.minutes(columns), np.array([2.0, 4.0, 6.0]) / 60)
    np.testing.assert_allclose(curves.smoothed(columns["episode/return"], 2), [1.0, 1.0, 4.0])


def test_runs_of_several_tasks_have_a_panel_each(tmp_path):
    pytest.importorskip("matplotlib", reason="matplotlib is not installed")
    folders = [write_run(tmp_path / name, [1.0, 4.0]) for name in "abc"]
    words = {"runs": ",".join(map(str, folders)), "labels": "HAPPO,MAPPO,HAPPO", "titles": "spread,spread,reference"}
    runs = curves.labeled(words)

    def panels(**more):
        drawn = plot.panel_contents({**plot.DEFAULTS, **words, **more}, runs)
        return [(title, name, axis, [run.label for run in group]) for title, name, axis, group in drawn]

    assert panels(metric="return") == [
        ("spread", "return", "steps", ["HAPPO", "MAPPO"]),
        ("reference", "return", "steps", ["HAPPO"]),
    ]
    assert [panel[:3] for panel in panels(x="both")][:4] == [
        ("spread", name, axis) for name in ("return", "success") for axis in ("steps", "minutes")
    ]
    assert panels(titles=None) == [("", name, "steps", ["HAPPO", "MAPPO", "HAPPO"]) for name in ("return", "success")]
    result = run_command(
        "scripts/plot.py", *(f"{key}={value}" for key, value in words.items()), "metric=success", cwd=tmp_path
    )
    assert result.returncode == 0 and (tmp_path / "curve.png").read_bytes()[:4] == b"\x89PNG", result.stderr


def test_the_lowest_points_can_be_left_out_of_a_picture():
    pyplot = pytest.importorskip("matplotlib.pyplot", reason="matplotlib is not installed")
    figure, panel = pyplot.subplots()
    panel.plot([-1000.0, *range(99)])
    panel.plot([float("nan"), *range(100)])
    before = panel.get_ylim()
    charts.leave_out(panel, 0.0)
    assert panel.get_ylim() == before
    charts.leave_out(panel, 1.0)
    low, high = panel.get_ylim()
    assert 0.0 <= low <= 1.0 and 99.0 < high < 105.0
    pyplot.close(figure)


@pytest.mark.parametrize(
    "script, words, message",
    [
        ("table.py", [], "give runs=<run folder>, several separated by commas"),
        ("plot.py", ["runs=nowhere"], "no metrics.csv with iterations in nowhere: not a run folder"),
        ("plot.py", ["runs=run", "labels=a,b"], "2 labels for 1 runs"),
        ("table.py", ["runs=run", "metric=speed"], "metric=speed: run has none; possible: count, return, success"),
        ("table.py", ["runs=run", "at=soon"], "at=soon: give million steps, such as at=0.5,1,2"),
        ("plot.py", ["runs=run", "x=hours"], "x=hours; possible: steps, minutes, both"),
        ("plot.py", ["runs=run,run", "titles=spread"], "1 titles for 2 runs"),
        ("plot.py", ["runs=run", "cut=100"], "cut=100.0: give a percentage of at least 0 and below 100"),
        ("plot.py", ["runs=run", "metric=speed"], "metric=speed: no run has it; possible: count, return, success"),
    ],
)
def test_mistakes_are_named_in_one_line(script, words, message, tmp_path):
    write_run(tmp_path / "run", [1.0])
    result = run_command("scripts/" + script, *words, cwd=tmp_path)
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1
