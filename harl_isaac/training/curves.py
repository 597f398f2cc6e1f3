"""Learning curves of finished or running runs: reading metrics.csv and eval.csv, running means, means over windows."""

import csv
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import numpy as np

Curves = Dict[str, np.ndarray]  # column of metrics.csv -> [iterations]


EVALUATION = "eval/"  # begins the names of evaluations' metrics; those of training have columns episode/...


class LabeledRun(NamedTuple):
    """A run's curves under the name by which it is shown."""

    label: str
    curves: Curves
    evaluations: Curves  # of eval.csv, empty without
    title: str  # of its panel
    folder: Path


class Series(NamedTuple):
    """A metric over a run, each [points]; nan where nothing is known, so that no line is drawn there."""

    steps: np.ndarray
    minutes: np.ndarray
    values: np.ndarray


def load(folder: Path) -> Curves:
    """Read a run's metrics.csv. Raises ValueError where the folder is not a run's or holds no iteration."""
    curves = _columns(folder / "metrics.csv")
    if not curves:
        raise ValueError(f"no metrics.csv with iterations in {folder}: not a run folder")
    if "steps" not in curves:
        raise ValueError(f"{folder / 'metrics.csv'} is damaged: it has no column steps")
    return curves


def load_evaluations(folder: Path) -> Curves:
    """Read a run's eval.csv; {} where there has been no evaluation."""
    return _columns(folder / "eval.csv")


def _columns(path: Path) -> Curves:
    """Columns of a CSV file; {} without rows. Raises ValueError where it is no text, or a value is no number."""
    if not path.is_file():
        return {}
    try:
        rows = whole_rows(path)
        return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]} if rows else {}
    except (csv.Error, ValueError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}); resuming the run mends its records") from None


def whole_rows(path: Path) -> List[Dict[str, str]]:
    """Rows of a CSV file that have a value for each column: a running run may be writing its last one."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    return [row for row in rows if None not in row and None not in row.values()]


def labeled(args: Dict[str, Any]) -> List[LabeledRun]:
    """The runs in the arguments `runs` and `labels`, both separated by commas. Raises ValueError."""
    if not args["runs"]:
        raise ValueError("give runs=<run folder>, several separated by commas")
    folders = [Path(word) for word in args["runs"].split(",")]
    labels = words_for(args, "labels", len(folders)) if args["labels"] else [folder.name for folder in folders]
    return [read_run(folder, label) for label, folder in zip(labels, folders)]


def read_run(folder: Path, label: str, title: str = "") -> LabeledRun:
    """The curves of a run folder. Raises ValueError."""
    return LabeledRun(label, load(folder), load_evaluations(folder), title, folder)


def words_for(args: Dict[str, Any], key: str, runs: int) -> List[str]:
    """The words of an argument that gives one for each of `runs`. Raises ValueError."""
    words = args[key].split(",")
    if len(words) != runs:
        raise ValueError(f"{len(words)} {key} for {runs} runs")
    return words


def episode_metrics(runs: List[LabeledRun]) -> List[str]:
    """Metrics that at least one run has: return, length, success, ..., then those of evaluations, eval/return, ..."""
    names: Dict[str, None] = {}
    for run in runs:
        names.update(dict.fromkeys(name.partition("/")[2] for name in run.curves if name.startswith("episode/")))
    for run in runs:
        names.update(dict.fromkeys(EVALUATION + name for name in run.evaluations if name not in ("iteration", "steps")))
    return list(names)


def has_metric(run: LabeledRun, metric: str) -> bool:
    """Whether the run has recorded the metric at least once."""
    return metric in episode_metrics([run])


def series(run: LabeledRun, metric: str, smooth: int) -> Series:
    """A metric of `episode_metrics`; those of training as running means over `smooth` iterations."""
    time = minutes(run.curves)
    if not metric.startswith(EVALUATION):
        iterations = run.curves["iteration"]
        values = smoothed(run.curves["episode/" + metric], rows_of(smooth, iterations))
        return with_gaps(Series(run.curves["steps"], time, values), iterations)
    table = run.evaluations
    at = np.interp(table["steps"], run.curves["steps"], time)
    return with_gaps(Series(table["steps"], at, table[metric[len(EVALUATION) :]]), table["iteration"])


def with_gaps(curve: Series, iterations: np.ndarray) -> Series:
    """The series with a nan in the middle of every pause: where the next row is missing, by the usual distance."""
    distance = np.diff(iterations)
    if not len(distance):
        return curve
    pauses = np.flatnonzero(distance > 1.5 * np.median(distance))
    steps, time = (np.insert(x, pauses + 1, (x[pauses] + x[pauses + 1]) / 2) for x in (curve.steps, curve.minutes))
    return Series(steps, time, np.insert(curve.values, pauses + 1, np.nan))


def rows_of(count: int, iterations: np.ndarray) -> int:
    """Number of rows, at least one, that stand for `count` iterations: a row may be one of several."""
    distance = np.diff(iterations)
    return max(1, round(count / np.median(distance))) if len(distance) else count


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over the last `width` rows, [iterations]; rows without a value are left out, nan if all are."""
    finite = np.isfinite(values)
    total = np.cumsum(np.where(finite, values, 0.0))
    count = np.cumsum(finite)
    start = np.maximum(np.arange(len(values)) - width, -1)  # the last row before the window, -1: none
    total_before = np.where(start >= 0, total[start], 0.0)
    count_before = np.where(start >= 0, count[start], 0)
    inside = count - count_before
    return np.where(inside > 0, (total - total_before) / np.maximum(inside, 1), np.nan)


def episodes_mean(curves: Curves, name: str, until: float, window: float) -> float:
    """Mean of the column `name` over the episodes that ended in the `window` steps before step `until`.

    nan if none ended then, or if the run did not come this far.
    """
    steps = curves["steps"]
    count = curves["episode/count"]
    values = curves[name]
    if steps[-1] < until:
        return np.nan
    rows = (steps > until - window) & (steps <= until) & (count > 0) & np.isfinite(values)
    if not rows.any():
        return np.nan
    return float(np.average(values[rows], weights=count[rows]))


def minutes(curves: Curves) -> np.ndarray:
    """Minutes spent training, [iterations], from the iterations' own rates: pauses before a resume do not count."""
    steps = np.diff(curves["steps"], prepend=0.0)
    return np.cumsum(steps / curves["time/steps_per_second"]) / 60.0
