"""Learning curves as runs wrote them: reading metrics.csv, means over windows. For plot.py and table.py."""

import csv
from pathlib import Path
from typing import Any, Dict, List, Tuple

import numpy as np


def load(folder: Path) -> Dict[str, np.ndarray]:
    """A run's metrics as arrays by column. Raises ValueError."""
    path = folder / "metrics.csv"
    rows = list(csv.DictReader(path.open())) if path.is_file() else []
    if not rows:
        raise ValueError(f"no metrics.csv with iterations in {folder}: not a run folder")
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def labeled(args: Dict[str, Any]) -> List[Tuple[str, Dict[str, np.ndarray]]]:
    """(label, metrics) of the runs in the arguments `runs` and `labels`. Raises ValueError."""
    if not args["runs"]:
        raise ValueError("give runs=<run folder>, several separated by commas")
    folders = [Path(word) for word in args["runs"].split(",")]
    labels = words_for(args, "labels", len(folders)) if args["labels"] else [folder.name for folder in folders]
    return [(label, load(folder)) for label, folder in zip(labels, folders)]


def words_for(args: Dict[str, Any], key: str, runs: int) -> List[str]:
    """The words of an argument that gives one for each of `runs`. Raises ValueError."""
    words = args[key].split(",")
    if len(words) != runs:
        raise ValueError(f"{len(words)} {key} for {runs} runs")
    return words


def episode_metrics(runs: List[Tuple[str, Dict[str, np.ndarray]]]) -> List[str]:
    """What some of (label, metrics) know of their episodes: return, length, success, ..."""
    names = dict.fromkeys(name for _, columns in runs for name in columns)
    return [name.partition("/")[2] for name in names if name.startswith("episode/")]


def smoothed(values, width: int):
    """Running mean over up to `width` rows before each; rows without a value are left out."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    start = np.maximum(np.arange(len(values)) - width, -1)
    before = np.where(start >= 0, total[start], 0.0), np.where(start >= 0, count[start], 0)
    return (total - before[0]) / np.maximum(count - before[1], 1)


def episodes_mean(columns, name: str, upto: float, window: float) -> float:
    """Mean of an episodes' metric over those that ended in the `window` steps before step `upto`; nan where none did, or
    where the run did not come so far."""
    steps = columns["steps"]
    count = columns["episode/count"]
    values = columns[name]
    if steps[-1] < upto:
        return np.nan
    rows = (steps > upto - window) & (steps <= upto) & (count > 0) & np.isfinite(values)
    return float(np.average(values[rows], weights=count[rows])) if rows.any() else np.nan


def minutes(columns):
    """Time spent training, from the rates of the iterations themselves: pauses between resumed parts do not count."""
    steps = np.diff(columns["steps"], prepend=0.0)
    return np.cumsum(steps / columns["time/steps_per_second"]) / 60.0
