"""harl-table runs=<run folder>[,<run folder>...] at=1,2,5: what runs had reached at these million steps,
as a table in Markdown: means over the episodes, with the exploring policy, that ended in the `window` steps before.

Keys: runs, labels (one for each run, separated by commas; default: the folders' names), at=1 (million steps, separated
by commas), metric=return (or success, length, ...: a column episode/... of metrics.csv), window=100000 (steps). Runs
with the same label are one row: the mean over them, and their standard deviation behind +-.
"""

from typing import List

import numpy as np

from harl_isaac.cli.arguments import read_arguments
from harl_isaac.training.curves import Curves, episode_metrics, episodes_mean, labeled

DEFAULTS = {"runs": None, "labels": None, "at": "1", "metric": "return", "window": 100_000}


def main() -> None:
    """Print the table of the runs named on the command line."""
    args = read_arguments(__doc__, DEFAULTS)
    runs = labeled(args)
    metric = args["metric"]
    for run in runs:
        if "episode/" + metric not in run.curves:
            possible = ", ".join(episode_metrics([run]))
            raise ValueError(f"metric={metric}: {run.label} has none; possible: {possible}")
    at = milestones(args["at"])
    headings = " | ".join(f"{steps / 1e6:g}M" for steps in at)
    print(f"| | runs | {headings} |")
    print("|" + "---|" * (2 + len(at)))
    for label in dict.fromkeys(run.label for run in runs):
        group = [run.curves for run in runs if run.label == label]
        cells = row(group, metric, at, args["window"])
        print(f"| {label} | {len(group)} | {' | '.join(cells)} |")


def milestones(text: str) -> List[float]:
    """Steps of the argument `at`. Raises ValueError."""
    try:
        return [1e6 * float(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"at={text}: give million steps, such as at=0.5,1,2") from None


def row(runs: List[Curves], metric: str, at: List[float], window: float) -> List[str]:
    """The cell of each milestone, over the runs of one label."""
    cells = []
    for steps in at:
        means = [episodes_mean(curves, "episode/" + metric, steps, window) for curves in runs]
        cells.append(cell(np.array(means), metric == "success"))
    return cells


def cell(values: np.ndarray, is_share: bool) -> str:
    """Mean and standard deviation over the runs that came this far (the others are nan); a share in percent."""
    values = values[np.isfinite(values)] * (100 if is_share else 1)
    if not len(values):
        return "-"
    digits = 1 if is_share or np.abs(values).max() < 100 else 0
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" +- {values.std(ddof=1):.{digits}f}"
    return text + (" %" if is_share else "")
