"""harl-table runs=<run folder>[,<run folder>...] labels=HAPPO,HAPPO,MAPPO at=1,5,10: a table of what runs had reached,
from their own metrics.csv and eval.csv, in Markdown: mean and deviation over the runs of a label.

Keys: runs (run folders, folders above them, patterns, studies), study (a study's folder), labels (one for each run,
separated by commas; default: the folders' names, or the algorithms), only (labels, separated by commas: of their runs
alone, in this order), at=1 (million environment steps, several separated by commas, or end: the last of each run;
default of studies, patterns and folders above), metric=return (or another column episode/... of metrics.csv, or
eval/return, ... of evaluations), window=100000 (steps up to the milestone whose episodes are averaged), average
(deviation: mean +- standard deviation; mean, iqm: with 95 % bootstrap intervals; default: deviation), kind=values (or
improvement: the probability that a run of the one algorithm is better than one of the other, over all tasks; scores:
mean and interquartile mean over all tasks of scores scaled by task, 0 the worst run, 1 the best; both with 95 %
intervals), marl_eval (a file: all evaluations in marl-eval's JSON format).
"""

import json
from functools import partial
from typing import Any, Callable, Dict, List

import numpy as np

from harl_isaac.cli.arguments import check_choice, check_numbers, named_file, read_arguments
from harl_isaac.outputs import write_text
from harl_isaac.studies.collection import Collection, by_title_and_label, collect, named_collection
from harl_isaac.studies.comparison import Scores, aggregates, collect_scores, final_score, improvements
from harl_isaac.studies.marl_eval import exported
from harl_isaac.studies.statistics import STATISTICS, estimate
from harl_isaac.training.curves import EVALUATION, LabeledRun, episode_metrics, episodes_mean, has_metric

DEFAULTS = {
    "runs": None,
    "study": None,
    "labels": None,
    "only": None,
    "at": None,
    "metric": "return",
    "window": 100_000,
    "average": "deviation",
    "kind": "values",
    "marl_eval": None,
}
VALUES = "values"
DEVIATION = "deviation"
FORM = ".2f"  # of probabilities and scaled scores
END = "end"
MOST_STEPS = 1e15


def main() -> None:
    """Print the table of the runs named on the command line."""
    args = read_arguments(__doc__ or "", DEFAULTS, first="runs")
    check_numbers(args, window=(1, MOST_STEPS))
    exported_to = None if args["marl_eval"] is None else named_file(args, "marl_eval")
    collection = collect(args)
    metric = args["metric"]
    for run in collection.runs:
        if not has_metric(run, metric):
            possible = ", ".join(episode_metrics([run]))
            raise ValueError(f"metric={metric}: {run.label} has none; possible: {possible}")
    check_choice("average", args["average"], [DEVIATION, *STATISTICS])
    check_choice("kind", args["kind"], [VALUES, *KINDS])
    at = milestones(args["at"] if args["at"] is not None else (END if collection.grouped else "1"))
    if args["kind"] == VALUES:
        print_table(collection, at, args)
    else:
        print_comparison(named_collection(collection).runs, at, args)
    if exported_to:
        write_text(exported_to, json.dumps(exported(collection.runs), indent=1))
        print(exported_to)


def print_table(collection: Collection, at: List[float], args: Dict[str, Any]) -> None:
    """Print a row for each label of each task."""
    headings = " | ".join(END if steps == np.inf else f"{steps / 1e6:g}M" for steps in at)
    first = ["task", ""] if collection.grouped else [""]
    print(f"| {' | '.join([*first, 'runs'])} | {headings} |".replace("|  |", "| |"))
    print("|" + "---|" * (len(first) + 1 + len(at)))
    for title, groups in by_title_and_label(collection.runs).items():
        for label, group in groups.items():
            cells = row(group, args["metric"], at, args["window"], args["average"])
            names = f"{title} | {label}" if collection.grouped else label
            print(f"| {names} | {len(group)} | {' | '.join(cells)} |")


def print_comparison(runs: List[LabeledRun], at: List[float], args: Dict[str, Any]) -> None:
    """Print the algorithms' comparison over all tasks at one milestone. Raises ValueError."""
    if len(at) > 1:
        raise ValueError(f"at={args['at']}: kind={args['kind']} compares at one milestone; give one")
    reached = partial(value_at, steps=at[0], window=args["window"])
    print("\n".join(KINDS[args["kind"]](collect_scores(runs, args["metric"], reached))))


def improvement_lines(scores: Scores) -> List[str]:
    """A line for each pair of algorithms. Raises ValueError where there is none."""
    lines = [f"| {tasks_of(scores)} | runs | probability of a better {scores.metric} |", "|---|---|---|"]
    for (first, second), probability in improvements(scores).items():
        counts = f"{runs_of(scores, first)}, {runs_of(scores, second)}"
        lines.append(f"| {first} > {second} | {counts} | {probability.text(FORM)} |")
    return lines


def score_lines(scores: Scores) -> List[str]:
    """A line for each algorithm."""
    found = aggregates(scores)
    lines = [f"| {tasks_of(scores)}, scaled {scores.metric} | runs | {' | '.join(found)} |"]
    lines.append("|---|---|" + "---|" * len(found))
    for label in scores.raw:
        cells = " | ".join(by_label[label].text(FORM) for by_label in found.values())
        lines.append(f"| {label} | {runs_of(scores, label)} | {cells} |")
    return lines


def tasks_of(scores: Scores) -> str:
    """Number of tasks, in words."""
    count = len(scores.tasks)
    return "1 task" if count == 1 else f"{count} tasks"


def runs_of(scores: Scores, label: str) -> int:
    """Number of an algorithm's runs."""
    return sum(len(of_task) for of_task in scores.raw[label])


KINDS: Dict[str, Callable[[Scores], List[str]]] = {"improvement": improvement_lines, "scores": score_lines}


def milestones(text: str) -> List[float]:
    """Steps of the argument `at`; infinity stands for the end of each run. Raises ValueError."""
    try:
        steps = [np.inf if word == END else 1e6 * float(word) for word in text.split(",")]
    except ValueError:
        steps = [np.nan]
    if not all(0 <= each <= MOST_STEPS or each == np.inf for each in steps):
        raise ValueError(f"at={text}: give million steps, such as at=0.5,1,2, or end")
    return steps


def row(runs: List[LabeledRun], metric: str, at: List[float], window: float, average: str) -> List[str]:
    """The cell of each milestone, over the runs of one label."""
    cells = []
    for steps in at:
        reached = np.array([value_at(run, metric, steps, window) for run in runs])
        cells.append(cell(reached, metric.endswith("success"), average))
    return cells


def value_at(run: LabeledRun, metric: str, steps: float, window: float) -> float:
    """The metric at a milestone; nan where the run did not come so far."""
    if metric.startswith(EVALUATION):
        if steps == np.inf:
            return final_score(run, metric)
        done = np.flatnonzero(run.evaluations["steps"] <= steps)
        came = run.curves["steps"][-1] >= steps and len(done)
        return float(run.evaluations[metric[len(EVALUATION) :]][done[-1]]) if came else np.nan
    until = run.curves["steps"][-1] if steps == np.inf else steps
    return episodes_mean(run.curves, "episode/" + metric, until, window)


def cell(values: np.ndarray, is_share: bool, average: str = DEVIATION) -> str:
    """A statistic over the runs that came this far (the others are nan) and its spread; a share in percent."""
    values = values[np.isfinite(values)] * (100 if is_share else 1)
    if not len(values):
        return "-"
    digits = 1 if is_share or np.abs(values).max() < 100 else 0
    unit = " %" if is_share else ""
    if average != DEVIATION:
        return estimate([values], average).text(f".{digits}f") + unit
    text = f"{values.mean():.{digits}f}"
    if len(values) > 1:
        text += f" +- {values.std(ddof=1):.{digits}f}"
    return text + unit
