"""Statistics over seeds and tasks against literal ones, bands over seeds, and lines that end where runs pause."""

import numpy as np
import pytest

pytest.importorskip("scipy", reason="scipy is not installed")

from support.study_runs import write_run

from harl_isaac.studies import bands, statistics
from harl_isaac.training import curves


def test_the_iqm_is_the_mean_of_the_middle_half():
    values = np.array([[9.0, -50.0, 1.0, 2.0, 3.0, 4.0, 70.0, 0.0]])
    assert statistics.iqm(values)[0] == np.mean([1.0, 2.0, 3.0, 4.0])
    found = statistics.estimate([values[0, :4], values[0, 4:]], "iqm")
    assert found.value == np.mean([1.0, 2.0, 3.0, 4.0]) and found.low < found.value < found.high


def test_the_bootstrap_draws_runs_within_each_task():
    """Tasks of very different scores: drawn from all runs together, the interval would be as wide as between tasks."""
    rng = np.random.default_rng(3)
    tasks = [rng.normal(0.0, 1.0, 8), rng.normal(1000.0, 1.0, 8)]
    found = statistics.estimate(tasks, "mean")
    literal = []
    for _ in range(4000):
        literal.append(np.mean([rng.choice(scores, len(scores)).mean() for scores in tasks]))
    np.testing.assert_allclose([found.low, found.high], np.percentile(literal, [2.5, 97.5]), atol=0.05)
    assert found.high - found.low < 2.0


def test_a_single_run_has_no_interval_and_joins_those_of_others():
    alone = statistics.estimate([np.array([3.0])], "mean")
    assert alone.value == 3.0 and np.isnan(alone.low) and np.isnan(alone.high)
    mixed = statistics.estimate([np.array([3.0]), np.array([0.0, 6.0])], "mean")
    assert (mixed.value, mixed.low, mixed.high) == (3.0, 1.0, 5.0)


def test_the_probability_of_improvement_counts_pairs():
    first = [np.array([1.0, 5.0, 5.0]), np.array([2.0, 2.0])]
    second = [np.array([0.0, 5.0]), np.array([3.0, 4.0, 5.0])]
    wins = [
        np.mean([1.0 if a > b else 0.5 if a == b else 0.0 for a in one for b in other])
        for one, other in zip(first, second)
    ]
    found = statistics.improvement(first, second)
    assert found.value == pytest.approx(np.mean(wins)) and found.low <= found.value <= found.high
    assert statistics.improvement(second, first).value == pytest.approx(1.0 - np.mean(wins))


def test_a_performance_profile_falls_from_one_to_the_share_of_the_best():
    scores = statistics.normalized({"a": [np.array([1.0, 3.0])], "b": [np.array([2.0, 5.0])]})
    np.testing.assert_allclose(scores["a"][0], [0.0, 0.5])
    np.testing.assert_allclose(scores["b"][0], [0.25, 1.0])
    found = statistics.profile(scores["a"], np.array([0.0, 0.25, 0.5, 0.75]))
    np.testing.assert_allclose(found.value, [1.0, 0.5, 0.5, 0.0])
    assert statistics.normalized({"a": [np.array([2.0, 2.0])]})["a"][0].tolist() == [1.0, 1.0]


def runs_of(tmp_path, *returns, step=10):
    return [
        curves.read_run(write_run(tmp_path / str(i), values, step=step), "happo") for i, values in enumerate(returns)
    ]


def test_a_band_is_over_the_runs_that_have_a_value_there(tmp_path):
    runs = runs_of(tmp_path, [1.0, 2.0, 3.0, 4.0], [3.0, 4.0])
    found = bands.band(runs, "return", "steps", 1, "mean")
    assert found.x.tolist() == [10, 20, 30, 40] and found.value.tolist() == [2.0, 3.0, 3.0, 4.0]
    assert found.low[:2].tolist() == [1.0, 2.0] and np.isnan(found.low[2:]).all()
    assert found.pieces() == [(slice(0, 2), True), (slice(2, 4), False)]


def test_runs_of_other_batches_are_compared_at_the_same_steps(tmp_path):
    runs = runs_of(tmp_path / "a", [1.0, 2.0, 3.0], step=10) + runs_of(tmp_path / "b", [3.0, 4.0], step=15)
    found = bands.band(runs, "return", "steps", 1, "mean")
    middle = np.searchsorted(found.x, 20.0)
    own = np.interp(found.x[middle], [10, 20, 30], [1, 2, 3])
    other = np.interp(found.x[middle], [15, 30], [3, 4])
    assert len(found.x) == bands.POINTS and found.value[middle] == pytest.approx((own + other) / 2)


@pytest.mark.parametrize("metric", ["return", "eval/return"])
def test_no_line_is_drawn_through_a_pause(metric, tmp_path):
    """Iterations 4 to 9 are missing; in iterations 11 and 12 no episode ended."""
    folder = write_run(tmp_path / "run", [float(i) for i in range(1, 11)] + [float("nan")] * 2 + [13.0], step=10)
    for name in ("metrics.csv", "eval.csv"):
        lines = (folder / name).read_text().splitlines(keepends=True)
        (folder / name).write_text("".join(lines[:4] + lines[10:]))
    run = curves.read_run(folder, "happo")
    found = curves.series(run, metric, 1)
    assert found.steps.tolist() == [10, 20, 30, 65, 100, 110, 120, 130]
    missing = [False, False, False, True, False, True, True, False]
    assert np.isnan(found.values).tolist() == missing
    over = bands.band([run], metric, "steps", 1, "mean")
    assert [part.points for part in over.pieces()] == [slice(0, 3), slice(4, 5), slice(7, 8)]
    assert (np.diff(found.minutes) > 0).all()


def test_before_the_first_episode_has_ended_there_is_no_curve():
    smoothed = curves.smoothed(np.array([np.nan, np.nan, 3.0, np.nan, np.nan, np.nan]), 3)
    np.testing.assert_array_equal(smoothed, [np.nan, np.nan, 3.0, 3.0, 3.0, np.nan])
