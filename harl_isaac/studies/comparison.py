"""Algorithms compared over all tasks by the scores that their runs ended with: numbers and pictures."""

from typing import TYPE_CHECKING, Callable, Dict, List, NamedTuple, Optional, Tuple

import numpy as np

from harl_isaac.studies.collection import by_title_and_label
from harl_isaac.studies.extras import pyplot
from harl_isaac.studies.statistics import STATISTICS, Estimate, estimate, improvement, normalized, profile
from harl_isaac.training.curves import EVALUATION, LabeledRun, episode_metrics, has_metric, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SMOOTH = 20  # iterations, of training's metrics
THRESHOLDS = np.linspace(0.0, 1.0, 101)


class Scores(NamedTuple):
    """Scores of each algorithm's runs on the tasks that all algorithms have, [N_i] for each task, as they are and
    normalized: 0 is a task's worst run, 1 its best.
    """

    metric: str
    tasks: List[str]
    raw: Dict[str, List[np.ndarray]]
    normalized: Dict[str, List[np.ndarray]]


def final_score(run: LabeledRun, metric: str) -> float:
    """The last evaluation's value, or the last running mean of training's metric; nan without one."""
    if not has_metric(run, metric):
        return np.nan
    values = series(run, metric, SMOOTH).values
    finite = values[np.isfinite(values)]
    return float(finite[-1]) if len(finite) else np.nan


def default_metric(runs: List[LabeledRun]) -> str:
    """Return of evaluations, where every run has one."""
    return EVALUATION + "return" if all(has_metric(run, EVALUATION + "return") for run in runs) else "return"


def collect_scores(
    runs: List[LabeledRun],
    metric: Optional[str] = None,
    score: Callable[[LabeledRun, str], float] = final_score,
) -> Scores:
    """Scores of algorithms on their common tasks. Raises ValueError where they have none.

    `score` gives a run's value of a metric, nan where it has none.
    """
    metric = metric or default_metric(runs)
    if not any(has_metric(run, metric) for run in runs):
        raise ValueError(f"metric={metric}: no run has it; possible: {', '.join(episode_metrics(runs))}")
    found: Dict[str, Dict[str, np.ndarray]] = {run.label: {} for run in runs}
    for task, groups in by_title_and_label(runs).items():
        for label, group in groups.items():
            values = np.array([score(run, metric) for run in group])
            if np.isfinite(values).any():
                found[label][task] = values[np.isfinite(values)]
    tasks = [task for task in by_title_and_label(runs) if all(task in scores for scores in found.values())]
    if not tasks:
        raise ValueError(f"the algorithms {', '.join(found)} have no task in common that all have finished runs of")
    raw = {label: [scores[task] for task in tasks] for label, scores in found.items()}
    return Scores(metric, tasks, raw, normalized(raw))


def aggregates(scores: Scores) -> Dict[str, Dict[str, Estimate]]:
    """Mean and IQM of the normalized scores over tasks and runs, by statistic and algorithm."""
    return {
        statistic: {label: estimate(values, statistic) for label, values in scores.normalized.items()}
        for statistic in STATISTICS
    }


def improvements(scores: Scores) -> Dict[Tuple[str, str], Estimate]:
    """Probability that the first algorithm's run beats the second's, for every pair. Raises ValueError without one."""
    labels = list(scores.raw)
    if len(labels) < 2:
        raise ValueError(f"kind=improvement compares two algorithms or more; the runs are all of {', '.join(labels)}")
    pairs = [(first, second) for i, first in enumerate(labels) for second in labels[i + 1 :]]
    return {pair: improvement(scores.raw[pair[0]], scores.raw[pair[1]]) for pair in pairs}


def draw_comparison(kind: str, runs: List[LabeledRun], metric: Optional[str]) -> "Figure":
    """The picture of a kind of comparison. Raises ValueError where there is nothing to compare."""
    return KINDS[kind](collect_scores(runs, metric))


def draw_scores(scores: Scores) -> "Figure":
    """Mean and IQM of each algorithm with their intervals."""
    found = aggregates(scores)
    figure, panels = pyplot().subplots(
        1, len(found), figsize=(4.5 * len(found), 1.2 + 0.4 * len(scores.raw)), squeeze=False
    )
    for panel, (statistic, by_label) in zip(panels.flat, found.items()):
        name = {"mean": "mean", "iqm": "interquartile mean"}[statistic]
        draw_intervals(panel, by_label, f"{name} of normalized {scores.metric}")
        panel.set_xlim(-0.03, 1.03)
    figure.tight_layout()
    return figure


def draw_improvement(scores: Scores) -> "Figure":
    """The probability of improvement of every pair."""
    found = {f"{first} > {second}": value for (first, second), value in improvements(scores).items()}
    figure, panel = pyplot().subplots(figsize=(6.0, 1.2 + 0.4 * len(found)))
    draw_intervals(panel, found, f"probability of a better {scores.metric}")
    panel.axvline(0.5, color="black", linewidth=0.8)
    panel.set_xlim(-0.03, 1.03)
    figure.tight_layout()
    return figure


def draw_intervals(panel: "Axes", estimates: Dict[str, Estimate], title: str) -> None:
    """Draw one bar from low to high for each name, with a line at its value."""
    for row, (value, low, high) in enumerate(estimates.values()):
        color = f"C{row % 10}"
        if np.isfinite(low):
            panel.barh(row, high - low, left=low, height=0.6, color=color, alpha=0.35)
        panel.plot([value, value], [row - 0.3, row + 0.3], color=color, linewidth=2.5)
    panel.set_yticks(range(len(estimates)), list(estimates))
    panel.set_ylim(len(estimates) - 0.5, -0.5)
    panel.set_title(title, fontsize=10)
    panel.grid(alpha=0.3, axis="x")


def draw_profiles(scores: Scores) -> "Figure":
    """The share of each algorithm's runs that reach a normalized score, with pointwise bands."""
    figure, panel = pyplot().subplots(figsize=(5.5, 3.6), constrained_layout=True)
    for number, (label, values) in enumerate(scores.normalized.items()):
        found = profile(values, THRESHOLDS)
        runs = sum(len(of_task) for of_task in values)
        color = f"C{number % 10}"
        panel.plot(THRESHOLDS, found.value, color=color, label=f"{label} ({runs} runs)")
        panel.fill_between(THRESHOLDS, found.low, found.high, color=color, alpha=0.2, linewidth=0)
    panel.set(
        xlabel=f"normalized {scores.metric}", ylabel="share of runs with at least that", xlim=(0, 1), ylim=(0, 1.02)
    )
    panel.grid(alpha=0.3)
    panel.legend(fontsize=8)
    return figure


KINDS: Dict[str, Callable[[Scores], "Figure"]] = {
    "scores": draw_scores,
    "profiles": draw_profiles,
    "improvement": draw_improvement,
}
