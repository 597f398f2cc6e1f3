"""harl-plot runs=<run folder>[,<run folder>...] out=curve.png: learning curves from the runs' own
metrics.csv.

Keys: runs, out=curve.png, x=steps (steps, minutes or both), smooth=20 (iterations averaged), labels (one for each run,
separated by commas; default: the folders' names), metric (a column episode/... of metrics.csv, such as length;
default: return and success, each in its panel), titles (one for each run, separated by commas, such as the tasks'
names: a panel for the runs with the same title; default: one panel for all), cut=0 (this percentage of a panel's
points, the lowest, lies below its picture: for runs that begin far down). Runs with the same label have the same color.
"""

from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple

import numpy as np

from harl_isaac.cli.arguments import read_arguments
from harl_isaac.training.curves import LabeledRun, episode_metrics, labeled, minutes, smoothed, words_for

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
X_LABELS = {"steps": "million steps", "minutes": "minutes"}
X_VALUES = {"steps": lambda curves: curves["steps"] / 1e6, "minutes": minutes}
COLUMNS = 3  # panels beside one another if each has a title


class PanelContent(NamedTuple):
    """The curves of one panel of the figure."""

    title: str
    metric: str
    x: str  # a key of X_LABELS
    runs: List[LabeledRun]


def main() -> None:
    """Draw the runs named on the command line into one picture."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    args = read_arguments(__doc__, DEFAULTS)
    runs = labeled(args)
    contents = panel_contents(args, runs)
    across = min(len(contents), COLUMNS) if args["titles"] else len(contents)  # without titles all side by side
    down = -(-len(contents) // across)
    size = (1 + 4 * across, 0.2 + 3.2 * down)
    figure, axes = pyplot.subplots(down, across, figsize=size, constrained_layout=True, squeeze=False)
    colors = colors_by_label(runs)
    for panel, content in zip(axes.flat, contents):
        draw(panel, content, colors, args["smooth"])
        leave_out(panel, args["cut"])
    for panel in axes.flat[len(contents) :]:
        panel.set_visible(False)
    figure.savefig(args["out"], dpi=110)
    print(args["out"])


def panel_contents(args: Dict[str, Any], runs: List[LabeledRun]) -> List[PanelContent]:
    """The panels that the arguments ask for. Raises ValueError."""
    if args["smooth"] < 1:
        raise ValueError(f"smooth={args['smooth']}: give at least one iteration")
    if args["x"] not in (*X_LABELS, "both"):
        raise ValueError(f"x={args['x']}; possible: {', '.join(X_LABELS)}, both")
    axes = list(X_LABELS) if args["x"] == "both" else [args["x"]]
    metrics = [args["metric"]] if args["metric"] else ["return", "success"]
    panels = []
    for title, group in runs_by_title(args, runs).items():
        for metric in metrics:
            if any("episode/" + metric in run.curves for run in group):
                panels += [PanelContent(title, metric, x, group) for x in axes]
    if not panels:
        raise ValueError(f"metric={','.join(metrics)}: no run has it; possible: {', '.join(episode_metrics(runs))}")
    return panels


def runs_by_title(args: Dict[str, Any], runs: List[LabeledRun]) -> Dict[str, List[LabeledRun]]:
    """The runs that share a panel, by the argument `titles`; without it all share one. Raises ValueError."""
    titles = words_for(args, "titles", len(runs)) if args["titles"] else [""] * len(runs)
    groups: Dict[str, List[LabeledRun]] = {}
    for title, run in zip(titles, runs):
        groups.setdefault(title, []).append(run)
    return groups


def colors_by_label(runs: List[LabeledRun]) -> Dict[str, str]:
    """matplotlib's color of each label, in the order of their first runs."""
    labels = dict.fromkeys(run.label for run in runs)
    return {label: f"C{number % 10}" for number, label in enumerate(labels)}


def draw(panel: "Axes", content: PanelContent, colors: Dict[str, str], smooth: int) -> None:
    """Draw one curve for each run, with one entry in the legend for each label."""
    column = "episode/" + content.metric
    is_share = content.metric == "success"
    in_legend = set()
    for label, curves in content.runs:
        if column not in curves:
            continue
        panel.plot(
            X_VALUES[content.x](curves),
            (100.0 if is_share else 1.0) * smoothed(curves[column], smooth),
            color=colors[label],
            label=None if label in in_legend else label,
            linewidth=1.2,
        )
        in_legend.add(label)
    panel.grid(alpha=0.3)
    panel.set(xlabel=X_LABELS[content.x], ylabel="success [%]" if is_share else content.metric)
    panel.set_title(content.title, fontsize=10)
    if in_legend:
        panel.legend(fontsize=8, framealpha=0.5)


def leave_out(panel: "Axes", cut: float) -> None:
    """Begin the y axis above the lowest `cut` percent of the points. Raises ValueError."""
    if not 0.0 <= cut < 100.0:
        raise ValueError(f"cut={cut}: give a percentage of at least 0 and below 100")
    if cut:
        values = np.concatenate([line.get_ydata() for line in panel.lines])
        low = np.nanpercentile(values, cut)
        high = np.nanmax(values)
        panel.set_ylim(low, high + 0.05 * (high - low))
