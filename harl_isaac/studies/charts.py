"""Pictures of runs: curves one by one or over seeds, scores, performance profiles, probabilities of improvement."""

from typing import TYPE_CHECKING, Dict, List, NamedTuple, Tuple

import numpy as np

from harl_isaac.studies.bands import Band, band
from harl_isaac.studies.extras import pyplot
from harl_isaac.training.curves import EVALUATION, LabeledRun, has_metric, series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

X_LABELS = {"steps": "million steps", "minutes": "minutes"}
UNITS = {"steps": 1e6, "minutes": 1.0}
COLUMNS = 3  # panels beside one another if each has a title
SINGLE = "none"  # average: each run has a curve of its own


class PanelContent(NamedTuple):
    """The curves of one panel of the figure."""

    title: str
    metric: str
    x: str  # a key of X_LABELS
    runs: List[LabeledRun]


class Style(NamedTuple):
    """Choices that hold for all panels of a figure."""

    smooth: int = 20  # iterations averaged
    average: str = SINGLE  # or a name of STATISTICS
    cut: float = 0.0  # [%] of a panel's points, the lowest, that lie below its picture


def draw_panels(contents: List[PanelContent], across: int, style: Style) -> "Figure":
    """A figure with `across` panels in a row; the same label has the same color in all of them."""
    down = -(-len(contents) // across)
    size = (1 + 4 * across, 0.2 + 3.2 * down)
    figure, axes = pyplot().subplots(down, across, figsize=size, constrained_layout=True, squeeze=False)
    colors = colors_by_label([run for content in contents for run in content.runs])
    for panel, content in zip(axes.flat, contents):
        draw(panel, content, colors, style)
        leave_out(panel, style.cut)
    for panel in axes.flat[len(contents) :]:
        panel.set_visible(False)
    return figure


def colors_by_label(runs: List[LabeledRun]) -> Dict[str, str]:
    """matplotlib's color of each label, in the order of their first runs."""
    labels = dict.fromkeys(run.label for run in runs)
    return {label: f"C{number % 10}" for number, label in enumerate(labels)}


def draw(panel: "Axes", content: PanelContent, colors: Dict[str, str], style: Style) -> None:
    """Draw the panel's runs, with one entry in the legend for each label."""
    groups: Dict[str, List[LabeledRun]] = {}
    for run in content.runs:
        if has_metric(run, content.metric):
            groups.setdefault(run.label, []).append(run)
    for label, runs in groups.items():
        if style.average == SINGLE:
            draw_runs(panel, content, runs, colors[label], style.smooth)
        else:
            over = band(runs, content.metric, content.x, style.smooth, style.average)
            draw_band(panel, over, scales(content), colors[label], label)
    panel.grid(alpha=0.3)
    panel.set(xlabel=X_LABELS[content.x], ylabel=metric_label(content.metric))
    panel.set_title(content.title, fontsize=10)
    if groups:
        panel.legend(fontsize=8, framealpha=0.5)


def draw_runs(panel: "Axes", content: PanelContent, runs: List[LabeledRun], color: str, smooth: int) -> None:
    """Draw one curve for each run of a label."""
    x_unit, unit = scales(content)
    for number, run in enumerate(runs):
        curve = series(run, content.metric, smooth)
        panel.plot(
            getattr(curve, content.x) / x_unit,
            unit * curve.values,
            color=color,
            label=run.label if number == 0 else None,
            linewidth=1.2,
            marker=marker(content.metric),
            markersize=3,
        )


def draw_band(panel: "Axes", over: Band, units: Tuple[float, float], color: str, label: str) -> None:
    """Draw a statistic over runs and its band; dotted where not all of the runs have a value."""
    x_unit, unit = units
    panel.plot([], [], color=color, label=f"{label} ({over.runs} {'run' if over.runs == 1 else 'runs'})")
    for points, whole in over.pieces():
        x = over.x[points] / x_unit
        y = unit * over.value[points]
        line, width = ("-", 1.5) if whole else (":", 1.2)
        panel.plot(x, y, color=color, linestyle=line, linewidth=width, marker="." if len(x) == 1 else "")
        panel.fill_between(x, unit * over.low[points], unit * over.high[points], color=color, alpha=0.2, linewidth=0)


def scales(content: PanelContent) -> Tuple[float, float]:
    """Divisor of x and factor of the values of a panel."""
    return UNITS[content.x], 100.0 if is_share(content.metric) else 1.0


def marker(metric: str) -> str:
    """Evaluations are few: points on their curve; none on curves of training."""
    return "." if metric.startswith(EVALUATION) else ""


def is_share(metric: str) -> bool:
    """Whether a metric is shown in percent."""
    return metric in ("success", EVALUATION + "success")


def metric_label(metric: str) -> str:
    """Text beside a panel."""
    name = metric[len(EVALUATION) :] + " of evaluations" if metric.startswith(EVALUATION) else metric
    return name.replace("success", "success [%]", 1) if is_share(metric) else name


def leave_out(panel: "Axes", cut: float) -> None:
    """Begin the y axis above the lowest `cut` percent of the points. Raises ValueError."""
    if not 0.0 <= cut < 100.0:
        raise ValueError(f"cut={cut}: give a percentage of at least 0 and below 100")
    if cut:
        values = np.concatenate([line.get_ydata() for line in panel.lines])
        low = np.nanpercentile(values, cut)
        high = np.nanmax(values)
        panel.set_ylim(low, high + 0.05 * (high - low))
