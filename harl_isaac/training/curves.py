"""Learning curves of finished or running runs: reading metrics.csv, running means, means over windows of steps."""

import csv
from pathlib import Path
from typing import Any, Dict, List, NamedTuple

import numpy as np

Curves = Dict[str, np.ndarray]  # column of metrics.csv -> [iterations]


class LabeledRun(NamedTuple):
    """A run's curves under the name by which it is shown."""

    label: str
    curves: Curves


def load(folder: Path) -> Curves:
    """Read a run's metrics.csv. Raises ValueError where the folder is not a run's or holds no iteration."""
    path = folder / "metrics.csv"
    rows = whole_rows(path) if path.is_file() else []
    if not rows:
        raise ValueError(f"no metrics.csv with iterations in {folder}: not a run folder")
    try:
        curves = {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    if "steps" not in curves:
        raise ValueError(f"{path} is damaged: it has no column steps")
    return curves


def whole_rows(path: Path) -> List[Dict[str, str]]:
    """Rows of a CSV file that have a value for each column: a running run may be writing its last one."""
    try:
        with path.open(encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{path} is damaged ({error})") from None
    return [row for row in rows if None not in row and None not in row.values()]


def labeled(args: Dict[str, Any]) -> List[LabeledRun]:
    """The runs in the arguments `runs` and `labels`, both separated by commas. Raises ValueError."""
    if not args["runs"]:
        raise ValueError("give runs=<run folder>, several separated by commas")
    folders = [Path(word) for word in args["runs"].split(",")]
    labels = words_for(args, "labels", len(folders)) if args["labels"] else [folder.name for folder in folders]
    return [LabeledRun(label, load(folder)) for label, folder in zip(labels, folders)]


def words_for(args: Dict[str, Any], key: str, runs: int) -> List[str]:
    """The words of an argument that gives one for each of `runs`. Raises ValueError."""
    words = args[key].split(",")
    if len(words) != runs:
        raise ValueError(f"{len(words)} {key} for {runs} runs")
    return words


def episode_metrics(runs: List[LabeledRun]) -> List[str]:
    """Names of the columns episode/... that at least one run has: return, length, success, ..."""
    names: Dict[str, None] = {}
    for run in runs:
        names.update(dict.fromkeys(run.curves))
    return [name.partition("/")[2] for name in names if name.startswith("episode/")]


def smoothed(values: np.ndarray, width: int) -> np.ndarray:
    """Running mean over the last `width` rows, [iterations]; rows without a value are left out."""
    finite = np.isfinite(values)
    total = np.cumsum(np.where(finite, values, 0.0))
    count = np.cumsum(finite)
    start = np.maximum(np.arange(len(values)) - width, -1)  # the last row before the window, -1: none
    total_before = np.where(start >= 0, total[start], 0.0)
    count_before = np.where(start >= 0, count[start], 0)
    return (total - total_before) / np.maximum(count - count_before, 1)


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
