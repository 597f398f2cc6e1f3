"""A small copy of a study to publish: its index, and of each run the settings, versions and thinned curves.

It has a study's layout, so that what draws and compares a study takes its archive too; without checkpoints nothing in
it can be resumed or played.
"""

import csv
import io
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from harl_isaac.outputs import write_text
from harl_isaac.studies.collection import has_iterations, read_settings
from harl_isaac.studies.index import RUNS, Study, is_study, load_study
from harl_isaac.training.curves import Curves, load, load_evaluations

OF_THE_MACHINE = ("run_root", "resume")  # settings left out
RATE = "time/steps_per_second"
COUNT = "episode/count"


def archive_study(study: Study, out: Path, points: int) -> int:
    """Write the archive of a study into the folder `out`; returns its number of runs.

    Each curve has at most `points` rows. The index is written last. Raises ValueError where `out` is the study itself,
    or holds anything but an archive of it.
    """
    check_folder(study, out)
    archived = 0
    for point in study.points:
        folder = study.run_folder(point)
        if folder is not None and has_iterations(folder):
            archive_run(folder, out / folder.relative_to(study.folder), points)
            archived += 1
    Study(out, study.words, study.points).save()
    return archived


def check_folder(study: Study, out: Path) -> None:
    """Raise ValueError where a study's archive may not be written into the folder."""
    if out.resolve() == study.folder.resolve():
        raise ValueError(f"out={out} is the study itself; give another folder")
    if is_study(out):
        kept = load_study(out)
        if {point.key for point in kept.points} - {point.key for point in study.points}:
            raise ValueError(f"out={out} holds another study, with runs that {study.folder} lacks; give another folder")
        if any(out.glob(f"{RUNS}/**/checkpoints")):
            raise ValueError(f"out={out} is a study with checkpoints, no archive; give another folder")
    elif out.is_file() or (out.is_dir() and any(out.iterdir())):
        raise ValueError(f"out={out} is no archive of a study; give a new folder")


def archive_run(folder: Path, out: Path, points: int) -> None:
    """Write a run's settings, versions and thinned curves. Earlier attempts of the point leave the archive."""
    seed = folder.name.rpartition("-seed")[2]
    for earlier in out.parent.glob(f"*-seed{seed}"):
        if earlier.name != out.name:
            shutil.rmtree(earlier)
    settings = {key: value for key, value in read_settings(folder).items() if key not in OF_THE_MACHINE}
    write_text(out / "config.yaml", yaml.safe_dump(settings, sort_keys=False))
    versions = folder / "versions.json"
    if versions.is_file():
        write_text(out / versions.name, versions.read_text(encoding="utf-8"))
    evaluations = load_evaluations(folder)
    if evaluations:
        write_text(out / "eval.csv", csv_text(latest_of_each(evaluations, points)))
    write_text(out / "metrics.csv", csv_text(thinned(load(folder), points)))


def thinned(curves: Curves, points: int) -> Curves:
    """At most `points` rows of a run's curves, each of as many iterations as the others (the last one of fewer).

    Of a row are the last iteration and its steps, the number of the episodes that ended and their means, and the mean
    speed, so that steps, minutes and means over windows of whole rows remain what they were.
    """
    rows = len(curves["steps"])
    starts = np.arange(0, rows, rows_each(rows, points))
    ends = np.append(starts[1:], rows) - 1
    gained = np.diff(curves["steps"], prepend=0.0)
    seconds = np.add.reduceat(gained / curves[RATE], starts)
    count = curves[COUNT]
    result = {name: curves[name][ends] for name in ("iteration", "steps")}
    result[COUNT] = np.add.reduceat(count, starts)
    for name, values in curves.items():
        if name.startswith("episode/") and name != COUNT:
            result[name] = means(values, count, starts)
    result[RATE] = np.add.reduceat(gained, starts) / seconds
    return result


def rows_each(rows: int, points: int) -> int:
    """Number of rows that one of the thinned ones stands for."""
    return max(1, -(-rows // points))


def means(values: np.ndarray, weights: np.ndarray, starts: np.ndarray) -> np.ndarray:
    """Weighted mean of each piece that begins at `starts`; nan where a piece has no finite value."""
    weights = np.where(np.isfinite(values), weights, 0.0)
    total = np.add.reduceat(weights, starts)
    summed = np.add.reduceat(np.where(weights > 0, values, 0.0) * weights, starts)
    return np.where(total > 0, summed / np.where(total > 0, total, 1.0), np.nan)


def latest_of_each(table: Curves, points: int) -> Curves:
    """At most `points` rows of a table, the last one among them."""
    rows = len(table["steps"])
    kept = np.arange(rows - 1, -1, -rows_each(rows, points))[::-1]
    return {name: values[kept] for name, values in table.items()}


def csv_text(table: Curves) -> str:
    """A table in CSV, with six digits of what is no whole number."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(table)
    writer.writerows([text_of(value) for value in row] for row in zip(*table.values()))
    return file.getvalue()


def text_of(value: Any) -> str:
    """A number in CSV."""
    return f"{value:.0f}" if value == np.floor(value) and np.isfinite(value) else f"{value:.6g}"
