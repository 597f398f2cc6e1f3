"""Evaluations in the format that marl-eval reads (Gorsane et al., 2022): environment, task, algorithm, seed, steps."""

from typing import Any, Dict, List

import numpy as np

from harl_isaac.studies.collection import read_settings
from harl_isaac.training.curves import LabeledRun

ENVIRONMENT = "harl_isaac"  # of tasks that belong to no family
NO_METRICS = ("iteration", "steps")


def exported(runs: List[LabeledRun]) -> Dict[str, Any]:
    """All evaluations as nested dicts; each value is a mean over the evaluation's episodes. Raises ValueError.

    The absolute metrics are those of the evaluation with the best return.
    """
    content: Dict[str, Any] = {}
    for run in runs:
        if not run.evaluations:
            raise ValueError(f"{run.folder} has no evaluation to export; train with eval.interval=20 or the like")
        family, slash, task = run.title.rpartition("/")
        by_algo = content.setdefault(family if slash else ENVIRONMENT, {}).setdefault(task, {})
        seeds = by_algo.setdefault(run.label, {})
        seed = f"seed_{read_settings(run.folder).get('seed', len(seeds) + 1)}"
        while seed in seeds:
            seed += "_again"
        seeds[seed] = steps_of(run.evaluations)
    return content


def steps_of(evaluations: Dict[str, np.ndarray]) -> Dict[str, Any]:
    """The evaluations of one run, step_1, step_2, ..., and its absolute metrics."""
    names = [name for name in evaluations if name not in NO_METRICS]
    result: Dict[str, Any] = {}
    for row, steps in enumerate(evaluations["steps"]):
        values = {name: [float(evaluations[name][row])] for name in names}
        result[f"step_{row + 1}"] = {"step_count": int(steps), **values}
    best = int(np.nanargmax(evaluations["return"]))
    result["absolute_metrics"] = {name: [float(evaluations[name][best])] for name in names}
    return result
