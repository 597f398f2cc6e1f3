"""python scripts/table.py runs=<run folder>[,<run folder>...] at=1,2,5: what runs had reached at these million steps, as a
table in Markdown: means over the episodes, with the exploring policy, that ended in the `window` steps before.

Keys: runs, labels (one for each run, separated by commas; default: the folders' names), at=1 (million steps, separated by
commas), metric=return (or success, length, ...: a column episode/... of metrics.csv), window=100000 (steps). Runs with the same
label are one row: the mean over them, and their standard deviation behind +-.
"""

import numpy as np

from harl_isaac.cli.script import read_arguments
from harl_isaac.training.curves import episode_metrics, episodes_mean, labeled

DEFAULTS = {"runs": None, "labels": None, "at": "1", "metric": "return", "window": 100_000}


def cell(values, share: bool) -> str:
    """Mean and deviation of those runs that came so far."""
    values = np.array(values)[np.isfinite(values)] * (100 if share else 1)
    if not len(values):
        return "-"
    digits = 1 if share or np.abs(values).max() < 100 else 0
    text = "%.*f" % (digits, values.mean())
    if len(values) > 1:
        text += " +- %.*f" % (digits, values.std(ddof=1))
    return text + (" %" if share else "")


def milestones(text: str):
    """[steps] of `at`. Raises ValueError."""
    try:
        return [1e6 * float(word) for word in text.split(",")]
    except ValueError:
        raise ValueError(f"at={text}: give million steps, such as at=0.5,1,2") from None


def main() -> None:
    args = read_arguments(__doc__, DEFAULTS)
    runs = labeled(args)
    name = "episode/" + args["metric"]
    at = milestones(args["at"])
    for label, columns in runs:
        if name not in columns:
            raise ValueError(
                "metric={}: {} has none; possible: {}".format(
                    args["metric"], label, ", ".join(episode_metrics([(label, columns)]))
                )
            )
    print("| | runs | {} |".format(" | ".join(f"{steps / 1e6:g}M" for steps in at)))
    print("|" + "---|" * (2 + len(at)))
    for label in dict.fromkeys(label for label, _ in runs):
        group = [columns for other, columns in runs if other == label]
        cells = [
            cell(
                [episodes_mean(columns, name, steps, args["window"]) for columns in group], args["metric"] == "success"
            )
            for steps in at
        ]
        print(f"| {label} | {len(group)} | {' | '.join(cells)} |")
