"""Curves over seeds: a statistic of several runs along steps or minutes, with a 95 % band."""

from typing import List, NamedTuple

import numpy as np

from harl_isaac.studies.statistics import Estimate, estimate
from harl_isaac.training.curves import LabeledRun, Series, has_metric, series

POINTS = 200  # of a curve at most


class Band(NamedTuple):
    """A statistic along x with its 95 % band, each [points]; nan where no run has a value."""

    x: np.ndarray
    value: np.ndarray
    low: np.ndarray
    high: np.ndarray
    present: np.ndarray  # bool [runs, points], whether a run has a value there
    runs: int

    def pieces(self) -> List["Piece"]:
        """The parts along which the same runs have values: between them a line would be one of nothing."""
        changes = np.flatnonzero((self.present[:, 1:] != self.present[:, :-1]).any(0)) + 1
        edges = [0, *changes.tolist(), len(self.x)]
        parts = [Piece(slice(*ends), bool(self.present[:, ends[0]].all())) for ends in zip(edges, edges[1:])]
        return [part for part in parts if self.present[:, part.points.start].any()]


class Piece(NamedTuple):
    """A part of a band."""

    points: slice
    whole: bool  # all runs have values


def band(runs: List[LabeledRun], metric: str, axis: str, smooth: int, statistic: str) -> Band:
    """A statistic of the runs' metric along `axis` (steps, minutes). Runs without the metric are left out."""
    curves = [series(run, metric, smooth) for run in runs if has_metric(run, metric)]
    x = grid([getattr(curve, axis) for curve in curves])
    values = np.stack([along(curve, axis, x) for curve in curves])
    present = np.isfinite(values)
    parts = [np.full(len(x), np.nan) for _ in Estimate._fields]
    for pattern in np.unique(present, axis=1).T:  # points at which the same runs have values
        if pattern.any():
            columns = (present == pattern[:, None]).all(0)
            found = estimate([values[pattern][:, columns].T], statistic)
            for target, part in zip(parts, found):
                target[columns] = part
    return Band(x, parts[0], parts[1], parts[2], present, len(curves))


def grid(axes: List[np.ndarray]) -> np.ndarray:
    """Points at which all curves are compared: their own where the longest holds them all, else POINTS of them."""
    longest = max(axes, key=len)
    if len(longest) <= POINTS and all(np.isin(points, longest).all() for points in axes):
        return longest
    return np.linspace(min(points[0] for points in axes), max(points[-1] for points in axes), POINTS)


def along(curve: Series, axis: str, x: np.ndarray) -> np.ndarray:
    """A curve's values at x, linear between its points; nan before, behind and in its pauses."""
    return np.interp(x, getattr(curve, axis), curve.values, left=np.nan, right=np.nan)
