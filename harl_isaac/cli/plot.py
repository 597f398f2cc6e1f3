"""harl-plot runs=<run folder>[,<run folder>...] out=curve.png: learning curves from the runs' own metrics.csv and
eval.csv.

Keys: runs (run folders, folders above them such as runs/SumGame, patterns such as 'runs/*/happo/*', studies), study (a
study's folder), out=curve.png, x=steps (steps, minutes or both), smooth=20 (iterations averaged), metric (return,
length, ... of training's episodes, eval/return, ... of evaluations; several separated by commas; default: return and
success, each in its panel), average (none: a curve for each run; mean, iqm: over the runs of a label, with 95 %
bootstrap bands; default: none for run folders named one by one, mean otherwise), labels (one for each run, separated by
commas; default: the folders' names, or the algorithms), only (labels, separated by commas: of their runs alone, in this
order), titles (one for each run, separated by commas, such as the tasks' names: a panel for the runs with the same
title; default: one panel for all, or the tasks), cut=0 (this percentage of a panel's points, the lowest, lies below its
picture: for runs that begin far down), kind=curves (or scores, profiles, improvement: algorithms compared over all
tasks, by their last evaluations). Runs with the same label have the same color. A line is dotted where not all of a
label's runs have a value, and broken where a run paused.
"""

from pathlib import Path
from typing import Any, Dict, List

from harl_isaac.cli.arguments import check_choice, check_numbers, named_file, read_arguments
from harl_isaac.studies.charts import COLUMNS, SINGLE, X_LABELS, PanelContent, Style, draw_panels
from harl_isaac.studies.collection import Collection, collect
from harl_isaac.studies.comparison import KINDS, draw_comparison
from harl_isaac.studies.statistics import STATISTICS
from harl_isaac.training.curves import LabeledRun, episode_metrics, has_metric, words_for

DEFAULTS = {
    "runs": None,
    "study": None,
    "out": "curve.png",
    "x": "steps",
    "smooth": 20,
    "labels": None,
    "only": None,
    "titles": None,
    "metric": None,
    "average": None,
    "cut": 0.0,
    "kind": "curves",
}
CURVES = "curves"
MOST_ITERATIONS = 1_000_000_000


def main() -> None:
    """Draw the runs named on the command line into one picture."""
    args = read_arguments(__doc__ or "", DEFAULTS, first="runs")
    check_choice("kind", args["kind"], [CURVES, *KINDS])
    check_numbers(args, smooth=(1, MOST_ITERATIONS))
    out = named_file(args, "out")
    collection = collect(args)
    if args["kind"] == CURVES:
        contents = panel_contents(args, collection.runs)
        titled = any(content.title for content in contents)
        across = min(len(contents), COLUMNS) if titled else len(contents)  # without titles all side by side
        figure = draw_panels(contents, across, Style(args["smooth"], chosen_average(args, collection), args["cut"]))
    else:
        figure = draw_comparison(args["kind"], collection.runs, args["metric"])
    save(figure, out)
    for folder in collection.left_out:
        print(f"left out, no iteration yet: {folder}")


def save(figure: Any, out: Path) -> None:
    """Write a figure. Raises ValueError where its file's ending names no format."""
    figure.savefig(out, dpi=110)
    print(out)


def chosen_average(args: Dict[str, Any], collection: Collection) -> str:
    """The statistic over the runs of a label, or none. Raises ValueError."""
    average = args["average"] or ("mean" if collection.grouped else SINGLE)
    check_choice("average", average, [SINGLE, *STATISTICS])
    return average


def panel_contents(args: Dict[str, Any], runs: List[LabeledRun]) -> List[PanelContent]:
    """The panels that the arguments ask for. Raises ValueError."""
    check_choice("x", args["x"], [*X_LABELS, "both"])
    axes = list(X_LABELS) if args["x"] == "both" else [args["x"]]
    metrics = args["metric"].split(",") if args["metric"] else ["return", "success"]
    panels = []
    for title, group in runs_by_title(args, runs).items():
        for metric in metrics:
            if any(has_metric(run, metric) for run in group):
                panels += [PanelContent(title, metric, x, group) for x in axes]
    if not panels:
        raise ValueError(f"metric={','.join(metrics)}: no run has it; possible: {', '.join(episode_metrics(runs))}")
    return panels


def runs_by_title(args: Dict[str, Any], runs: List[LabeledRun]) -> Dict[str, List[LabeledRun]]:
    """The runs that share a panel, by the argument `titles`, or else by their tasks. Raises ValueError."""
    titles = words_for(args, "titles", len(runs)) if args["titles"] else [run.title for run in runs]
    groups: Dict[str, List[LabeledRun]] = {}
    for title, run in zip(titles, runs):
        groups.setdefault(title, []).append(run)
    return groups
