"""Settings and versions of runs, compared: what all share, and what differs."""

import json
from pathlib import Path
from typing import Any, Dict, List

from harl_isaac.studies.collection import read_settings
from harl_isaac.training.curves import LabeledRun

NOT_COMPARED = ("seed", "resume", "run_root", "trust")
ABSENT = "-"


def compare_settings(runs: List[LabeledRun]) -> Dict[str, Any]:
    """Settings that all runs share, and those that differ with a column for each task and algorithm."""
    columns: Dict[str, List[Dict[str, str]]] = {}
    for run in runs:
        name = f"{run.title} {run.label}".strip()
        columns.setdefault(name, []).append(flattened(read_settings(run.folder)))
    keys = sorted({key for column in columns.values() for settings in column for key in settings})
    shared = []
    differing = []
    for key in keys:
        cells = [values_of(column, key) for column in columns.values()]
        if len(set(cells)) == 1:
            shared.append((key, cells[0]))
        else:
            differing.append((key, cells))
    return {"shared": shared, "differing": differing, "columns": list(columns)}


def flattened(settings: Dict[str, Any], prefix: str = "") -> Dict[str, str]:
    """{"algo": {"lr": 0.1}} -> {"algo.lr": "0.1"}, without those that every run has of its own."""
    result: Dict[str, str] = {}
    for key, value in settings.items():
        if prefix + str(key) in NOT_COMPARED:
            continue
        if isinstance(value, dict) and value:
            result.update(flattened(value, f"{prefix}{key}."))
        else:
            result[prefix + str(key)] = "null" if value is None else str(value)
    return result


def values_of(column: List[Dict[str, str]], key: str) -> str:
    """A setting in the runs of one column, several values separated by commas."""
    return ", ".join(dict.fromkeys(settings.get(key, ABSENT) for settings in column))


def group_versions(runs: List[LabeledRun]) -> List[Dict[str, Any]]:
    """The different sets of versions and their numbers of runs."""
    texts = [version_text(run.folder) for run in runs]
    return [{"text": text, "runs": texts.count(text)} for text in dict.fromkeys(texts)]


def version_text(folder: Path) -> str:
    """Python, machine and packages that a run was started with."""
    try:
        content = json.loads((folder / "versions.json").read_text(encoding="utf-8"))
        packages = [f"{name} {version}" for name, version in content["packages"].items() if version]
        return f"Python {content['python']} on {content['platform']}: {', '.join(packages)}"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return "unknown: without a whole versions.json"
