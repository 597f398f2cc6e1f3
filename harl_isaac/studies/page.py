"""A report of runs as one HTML page that needs no other file and no network: pictures are data URIs."""

import base64
import io
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Callable, Dict, List, NamedTuple, Optional

import numpy as np

from harl_isaac.studies.charts import PanelContent, Style, draw_panels
from harl_isaac.studies.collection import Collection, by_title_and_label
from harl_isaac.studies.comparison import KINDS, collect_scores, final_score
from harl_isaac.studies.extras import needed, pyplot
from harl_isaac.studies.index import Study, counts
from harl_isaac.studies.records import compare_settings, group_versions
from harl_isaac.studies.statistics import estimate
from harl_isaac.training.curves import EVALUATION, LabeledRun, has_metric

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TEMPLATE = Path(__file__).with_name("page.html")
MEDIA = {".png": "image/png", ".svg": "image/svg+xml", ".mp4": "video/mp4"}
SHOWN = ("return", "success")
STATISTIC_TEXT = {"mean": "Mean", "iqm": "Interquartile mean"}
CURVE_NOTE = (
    "Lines are {statistic}s over the runs of an algorithm, bands their 95 % intervals (percentile bootstrap over "
    "runs). A line is dotted where not all runs have a value and broken where a run paused; minutes are of "
    "training alone."
)
KIND_TEXT = {
    "scores": "Scores over all tasks, normalized by task: 0 is the worst of all runs, 1 the best. Intervals: 95 %, "
    "stratified bootstrap (runs drawn anew within each task).",
    "profiles": "Performance profiles: the share of an algorithm's runs that reach a normalized score, with 95 % "
    "bands.",
    "improvement": "Probability that a run of the first algorithm ends better than one of the second on the same task, "
    "mean over tasks, with 95 % intervals. Where the interval holds 0.5, neither is better.",
}


class Picture(NamedTuple):
    """A picture or film of what a policy does, for the page."""

    label: str
    text: str
    kind: str = ""  # image, video, or "" where there is none
    data: str = ""


Film = Callable[[LabeledRun], Picture]  # plays a run


def page(title: str, collection: Collection, study: Optional[Study], average: str, film: Optional[Film]) -> str:
    """The page's HTML. Raises ValueError."""
    runs = collection.runs
    points = study.points if study else []
    return template().render(
        title=title,
        subtitle=subtitle(collection, study),
        table=result_table(runs, average),
        curves=[curve_section(task, groups, average, film) for task, groups in by_title_and_label(runs).items()],
        curve_note=CURVE_NOTE.format(statistic=STATISTIC_TEXT[average].lower()),
        comparisons=comparisons(runs),
        points=points,
        settings=compare_settings(runs),
        versions=group_versions(runs),
    )


def template() -> Any:
    """The page's template; all that is put into it is escaped."""
    environment = needed("jinja2").Environment(autoescape=True, undefined=needed("jinja2").StrictUndefined)
    return environment.from_string(TEMPLATE.read_text(encoding="utf-8"))


def subtitle(collection: Collection, study: Optional[Study]) -> str:
    """Number of runs and day."""
    tasks = {run.title for run in collection.runs}
    labels = {run.label for run in collection.runs}
    parts = [f"{len(collection.runs)} runs: {len(tasks)} task(s), {len(labels)} algorithm(s)"]
    if study is not None:
        parts.append(", ".join(f"{number} {status}" for status, number in counts(study.points)))
    if collection.left_out:
        parts.append(f"{len(collection.left_out)} without an iteration yet")
    return "; ".join([*parts, time.strftime("%Y-%m-%d %H:%M")])


def result_table(runs: List[LabeledRun], average: str) -> Dict[str, Any]:
    """The last evaluations of each algorithm on each task, and where there are none the end of training."""
    metrics = [metric for metric in panel_metrics(runs) if metric.startswith(EVALUATION)] or panel_metrics(runs)
    rows = [
        {
            "task": task,
            "label": label,
            "runs": len(group),
            "cells": [cell(group, metric, average) for metric in metrics],
        }
        for task, groups in by_title_and_label(runs).items()
        for label, group in groups.items()
    ]
    source = "of each run's last evaluation" if metrics[0].startswith(EVALUATION) else "at each run's end of training"
    note = f"{STATISTIC_TEXT[average]} over runs {source}, with its 95 % interval; of a single run there is none."
    return {"metrics": [metric.replace(EVALUATION, "") for metric in metrics], "rows": rows, "note": note}


def cell(runs: List[LabeledRun], metric: str, average: str) -> str:
    """A statistic and its interval, with four digits."""
    values = np.array([final_score(run, metric) for run in runs])
    values = values[np.isfinite(values)]
    if not len(values):
        return "-"
    return estimate([values], average).text(".4g")


def panel_metrics(runs: List[LabeledRun]) -> List[str]:
    """Return and success of evaluations and of training, as far as a run has them."""
    names = [EVALUATION + name for name in SHOWN] + list(SHOWN)
    return [name for name in names if any(has_metric(run, name) for run in runs)]


def curve_section(task: str, groups: Dict[str, List[LabeledRun]], average: str, film: Optional[Film]) -> Dict[str, Any]:
    """A task's learning curves, and a picture of each algorithm's best run."""
    runs = [run for group in groups.values() for run in group]
    contents = [PanelContent("", metric, x, runs) for metric in panel_metrics(runs) for x in ("steps", "minutes")]
    figure = draw_panels(contents, 2, Style(average=average))
    return {
        "task": task,
        "image": figure_uri(figure),
        "pictures": [film(best(group)) for group in groups.values()] if film else [],
    }


def best(runs: List[LabeledRun]) -> LabeledRun:
    """The run whose last evaluation, or else training, ended with the highest return."""
    metric = EVALUATION + "return" if any(has_metric(run, EVALUATION + "return") for run in runs) else "return"
    scores = [final_score(run, metric) for run in runs]
    return runs[int(np.nanargmax(scores))] if np.isfinite(scores).any() else runs[0]


def comparisons(runs: List[LabeledRun]) -> List[Dict[str, str]]:
    """Pictures of algorithms over all tasks; none for a single algorithm, or without a common task."""
    try:
        scores = collect_scores(runs)
    except ValueError:
        return []
    if len(scores.raw) < 2:
        return []
    return [{"image": figure_uri(draw(scores)), "text": KIND_TEXT[kind]} for kind, draw in KINDS.items()]


def figure_uri(figure: "Figure") -> str:
    """A figure as a data URI."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg")
    pyplot().close(figure)
    return data_uri(buffer.getvalue(), ".svg")


def data_uri(content: bytes, suffix: str) -> str:
    """A file's content as a data URI."""
    return f"data:{MEDIA[suffix]};base64,{base64.b64encode(content).decode()}"
