"""python scripts/plot.py runs=<run folder>[,<run folder>...] out=curve.png: learning curves from the runs' own metrics.csv.

Keys: runs, out=curve.png, x=steps (steps or minutes), smooth=20 (iterations averaged), labels (one for each run, separated by
commas; default: the folders' names).
"""

import csv
from pathlib import Path

import numpy as np

from harl_isaac.playback import read_arguments, run_script

DEFAULTS = {"runs": None, "out": "curve.png", "x": "steps", "smooth": 20, "labels": None}
PANELS = (("return", "episode/return", 1.0), ("success [%]", "episode/success", 100.0))


def load(folder: Path):
    """A run's metrics as arrays by column. Raises ValueError."""
    path = folder / "metrics.csv"
    if not path.is_file():
        raise ValueError("no metrics.csv in %s: not a run folder" % folder)
    rows = list(csv.DictReader(path.open()))
    return {name: np.array([float(row[name]) for row in rows]) for name in rows[0]}


def smoothed(values, width: int):
    """Running mean over up to `width` rows before each; rows without a value are left out."""
    known = np.isfinite(values)
    total = np.cumsum(np.where(known, values, 0.0))
    count = np.cumsum(known)
    start = np.maximum(np.arange(len(values)) - width, -1)
    before = np.where(start >= 0, total[start], 0.0), np.where(start >= 0, count[start], 0)
    return (total - before[0]) / np.maximum(count - before[1], 1)


def minutes(columns):
    """Time spent training, from the rates of the iterations themselves: pauses between resumed parts do not count."""
    steps = np.diff(columns["steps"], prepend=0.0)
    return np.cumsum(steps / columns["time/steps_per_second"]) / 60.0


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    args = read_arguments(__doc__, DEFAULTS)
    if not args["runs"]:
        raise ValueError("give runs=<run folder>, several separated by commas")
    if args["x"] not in ("steps", "minutes"):
        raise ValueError("x=%s; possible: steps, minutes" % args["x"])
    folders = [Path(word) for word in args["runs"].split(",")]
    labels = args["labels"].split(",") if args["labels"] else [folder.name for folder in folders]
    figure, axes = pyplot.subplots(1, len(PANELS), figsize=(9, 3.4), constrained_layout=True)
    for folder, label in zip(folders, labels):
        columns = load(folder)
        x = columns["steps"] / 1e6 if args["x"] == "steps" else minutes(columns)
        for axis, (title, name, factor) in zip(axes, PANELS):
            if name in columns:
                axis.plot(x, factor * smoothed(columns[name], args["smooth"]), label=label)
            axis.set(xlabel="million steps" if args["x"] == "steps" else "minutes", ylabel=title)
            axis.grid(alpha=0.3)
    axes[0].legend()
    figure.savefig(args["out"], dpi=110)
    print(args["out"])


if __name__ == "__main__":
    run_script(main)
