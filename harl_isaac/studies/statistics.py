"""Statistics over seeds and tasks (Agarwal et al., Deep RL at the Edge of the Statistical Precipice, 2021).

Means, interquartile means, probabilities of improvement and performance profiles, with 95 % intervals by the stratified
percentile bootstrap: runs are drawn anew within each task. scipy draws them and trims the means.
"""

from typing import Any, Callable, Dict, List, NamedTuple, Sequence

import numpy as np

from harl_isaac.studies.extras import needed

RESAMPLES = 2000
LEVEL = 0.95
TRIMMED = 0.25  # share of the runs that the IQM leaves out at either end; of fewer than four runs it is their mean


class Estimate(NamedTuple):
    """A statistic and its 95 % interval, each [...]; nan at the ends where no task has two runs."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def text(self, form: str) -> str:
        """A single number and its interval, if it has one, in a format such as .2f."""
        if not np.isfinite(self.low):
            return f"{self.value:{form}}"
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


def mean(values: np.ndarray) -> np.ndarray:
    """Mean over the last axis."""
    return values.mean(-1)


def iqm(values: np.ndarray) -> np.ndarray:
    """Mean of the middle half of the values, over the last axis."""
    return needed("scipy.stats").trim_mean(values, TRIMMED, axis=-1)


STATISTICS: Dict[str, Callable[[np.ndarray], np.ndarray]] = {"mean": mean, "iqm": iqm}


def estimate(tasks: Sequence[np.ndarray], statistic: str) -> Estimate:
    """A statistic of all runs, each task's [..., N] beside one another's."""
    compute = STATISTICS[statistic]
    return bootstrap(tasks, lambda samples: compute(joined(samples)))


def bootstrap(samples: Sequence[np.ndarray], compute: Callable[[List[np.ndarray]], np.ndarray]) -> Estimate:
    """Estimate `compute(samples)`, samples [..., N_i]; each is drawn anew by itself, but for those of a single run."""
    value = np.asarray(compute(list(samples)), dtype=float)
    several = [number for number, sample in enumerate(samples) if sample.shape[-1] > 1]
    if not several:
        nothing = np.full_like(value, np.nan)
        return Estimate(value, nothing, nothing)

    def of_resampled(*drawn: np.ndarray, axis: int = -1) -> np.ndarray:
        everything: List[np.ndarray] = list(samples)
        for number, sample in zip(several, drawn):
            everything[number] = sample
        return compute(everything)

    result: Any = needed("scipy.stats").bootstrap(
        [samples[number] for number in several],
        of_resampled,
        n_resamples=RESAMPLES,
        vectorized=True,
        axis=-1,
        confidence_level=LEVEL,
        method="percentile",
        random_state=np.random.default_rng(0),  # the same picture every time
    )
    return Estimate(value, *map(np.asarray, result.confidence_interval))


def joined(samples: Sequence[np.ndarray]) -> np.ndarray:
    """Samples [..., N_i] as one [..., sum of N_i]; leading axes are broadcast."""
    shape = np.broadcast_shapes(*(sample.shape[:-1] for sample in samples))
    return np.concatenate([np.broadcast_to(sample, (*shape, sample.shape[-1])) for sample in samples], -1)


def improvement(better: Sequence[np.ndarray], worse: Sequence[np.ndarray]) -> Estimate:
    """Probability that a run of one algorithm beats one of another on the same task, mean over tasks; ties count half.

    `better` and `worse` hold each task's scores, [N_i] and [M_i].
    """
    count = len(better)

    def compute(samples: List[np.ndarray]) -> np.ndarray:
        shares = [share_of_wins(first, second) for first, second in zip(samples[:count], samples[count:])]
        return np.mean(np.broadcast_arrays(*shares), axis=0)

    return bootstrap([*better, *worse], compute)


def share_of_wins(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Share of the pairs of [..., N] and [..., M] in which the first is larger, ties by half."""
    pairs = first[..., :, None] - second[..., None, :]
    return (0.5 * (np.sign(pairs) + 1.0)).mean((-2, -1))


def profile(tasks: Sequence[np.ndarray], thresholds: np.ndarray) -> Estimate:
    """Share of the runs whose score is at least each threshold [K], mean over tasks: a performance profile.

    `tasks` hold each task's scores [N_i].
    """
    reached = [(scores >= thresholds[:, None]).astype(float) for scores in tasks]  # [K, N_i]
    return bootstrap(
        reached, lambda samples: np.mean(np.broadcast_arrays(*[mean(sample) for sample in samples]), axis=0)
    )


def normalized(scores: Dict[str, List[np.ndarray]]) -> Dict[str, List[np.ndarray]]:
    """Scores of each algorithm's tasks ([N_i] each), 0 for a task's worst run of all and 1 for its best."""
    result: Dict[str, List[np.ndarray]] = {name: [] for name in scores}
    for of_task in zip(*scores.values()):
        everything = np.concatenate(of_task)
        low = everything.min()
        width = everything.max() - low
        for name, values in zip(scores, of_task):
            result[name].append((values - low) / width if width > 0 else np.ones_like(values))
    return result
