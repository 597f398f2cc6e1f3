"""python scripts/plot.py runs=<run folder>[,<run folder>...] out=curve.png: learning curves from the runs' own metrics.csv.

Keys: runs, out=curve.png, x=steps (steps, minutes or both), smooth=20 (iterations averaged), labels (one for each run,
separated by commas; default: the folders' names), metric (a column episode/... of metrics.csv, such as length; default: return
and success, each in its panel), titles (one for each run, separated by commas, such as the tasks' names: a panel for the runs
with the same title; default: one panel for all), cut=0 (this percentage of a panel's points, the lowest, lies below its
picture: for runs that begin far down). Runs with the same label have the same color.
"""

import numpy as np

from harl_isaac.cli.script import read_arguments
from harl_isaac.training.curves import episode_metrics, labeled, minutes, smoothed, words_for

DEFAULTS = {
    "runs": None,
    "out": "curve.png",
    "x": "steps",
    "smooth": 20,
    "labels": None,
    "titles": None,
    "metric": None,
    "cut": 0.0,
}
AXES = {"steps": ("million steps", lambda columns: columns["steps"] / 1e6), "minutes": ("minutes", minutes)}
COLUMNS = 3  # panels beside one another where each has its title


def draw(panel, runs, name, colors, axis, smooth) -> None:
    """One curve for each (label, metrics), one entry in the legend for each label."""
    column = "episode/" + name
    factor = 100.0 if name == "success" else 1.0
    named = set()
    for label, columns in runs:
        if column in columns:
            panel.plot(
                AXES[axis][1](columns),
                factor * smoothed(columns[column], smooth),
                color=colors[label],
                label=None if label in named else label,
                linewidth=1.2,
            )
            named.add(label)
    panel.grid(alpha=0.3)
    panel.set(xlabel=AXES[axis][0], ylabel="success [%]" if name == "success" else name)
    if named:
        panel.legend(fontsize=8, framealpha=0.5)


def leave_out(panel, cut) -> None:
    """The lowest `cut` percent of the points. Raises ValueError."""
    if not 0.0 <= cut < 100.0:
        raise ValueError(f"cut={cut}: give a percentage of at least 0 and below 100")
    if cut:
        values = np.concatenate([line.get_ydata() for line in panel.lines])
        low = np.nanpercentile(values, cut)
        high = np.nanmax(values)
        panel.set_ylim(low, high + 0.05 * (high - low))


def panels_of(args, runs):
    """[(title, metric, axis, runs)] of (label, metrics). Raises ValueError."""
    if args["x"] not in (*AXES, "both"):
        raise ValueError("x={}; possible: {}, both".format(args["x"], ", ".join(AXES)))
    axes = list(AXES) if args["x"] == "both" else [args["x"]]
    names = [args["metric"]] if args["metric"] else ["return", "success"]
    titles = words_for(args, "titles", len(runs)) if args["titles"] else [""] * len(runs)
    groups = {title: [run for run, other in zip(runs, titles) if other == title] for title in titles}
    panels = [
        (title, name, axis, group)
        for title, group in groups.items()
        for name in names
        for axis in axes
        if any("episode/" + name in columns for _, columns in group)
    ]
    if not panels:
        raise ValueError(
            "metric={}: no run has it; possible: {}".format(",".join(names), ", ".join(episode_metrics(runs)))
        )
    return panels


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    args = read_arguments(__doc__, DEFAULTS)
    runs = labeled(args)
    panels = panels_of(args, runs)
    across = min(len(panels), COLUMNS) if args["titles"] else len(panels)  # all of one title beside one another
    down = -(-len(panels) // across)
    size = 1 + 4 * across, 0.2 + 3.2 * down
    figure, axes = pyplot.subplots(down, across, figsize=size, constrained_layout=True, squeeze=False)
    colors = {label: f"C{place % 10}" for place, label in enumerate(dict.fromkeys(label for label, _ in runs))}
    for panel, (title, name, axis, group) in zip(axes.flat, panels):
        draw(panel, group, name, colors, axis, args["smooth"])
        leave_out(panel, args["cut"])
        panel.set_title(title, fontsize=10)
    for panel in axes.flat[len(panels) :]:
        panel.set_visible(False)
    figure.savefig(args["out"], dpi=110)
    print(args["out"])
