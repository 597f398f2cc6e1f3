"""The runs that a command line names: run folders, folders above them, glob patterns, and studies."""

import glob
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional

import yaml

from harl_isaac.studies.index import INDEX, is_study, load_study
from harl_isaac.training.curves import LabeledRun, labeled, load, read_run, words_for

RECORD = "metrics.csv"


class Collection(NamedTuple):
    """Runs, and whether they are to be taken together by task and algorithm."""

    runs: List[LabeledRun]
    grouped: bool
    left_out: List[str]  # folders without an iteration yet


def collect(args: Dict[str, Any]) -> Collection:
    """The runs of the arguments `runs`, `study`, `labels`, `titles` and `only`. Raises ValueError.

    Run folders alone, named one by one, stay single and are labeled by their names. Those of studies, patterns and
    folders above are labeled by algorithm, with the task as title.
    """
    collection = collect_all(args)
    return with_labels(collection, args["only"].split(",")) if args.get("only") else collection


def with_labels(collection: Collection, labels: List[str]) -> Collection:
    """The runs that have one of these labels, in their order. Raises ValueError for a label that no run has."""
    known = list(dict.fromkeys(run.label for run in collection.runs))
    for label in labels:
        if label not in known:
            raise ValueError(f"only={','.join(labels)}: no run has the label {label}; possible: {', '.join(known)}")
    runs = [run for label in labels for run in collection.runs if run.label == label]
    return collection._replace(runs=runs)


def collect_all(args: Dict[str, Any]) -> Collection:
    """The runs that the arguments name, of all labels. Raises ValueError."""
    words = [word for key in ("runs", "study") for word in (args.get(key) or "").split(",") if word]
    if not args.get("study") and all(has_records(Path(word)) or not is_above(word) for word in words):
        return Collection(labeled(args), False, [])
    if args.get("study") and not is_study(Path(args["study"].split(",")[0])):
        raise ValueError(f"study={args['study']}: it holds no {INDEX}; give a study's folder, or runs=<folder>")
    folders = list(dict.fromkeys(folder for word in words for folder in run_folders(word)))
    if not folders:
        raise ValueError(f"no run folder in {', '.join(words)}")
    known = [folder for folder in folders if has_iterations(folder)]
    if not known:
        raise ValueError(f"no run in {', '.join(words)} has an iteration yet")
    labels = words_for(args, "labels", len(known)) if args.get("labels") else [None] * len(known)
    runs = [named_run(folder, label) for folder, label in zip(known, labels)]
    return Collection(runs, True, [str(folder) for folder in folders if folder not in known])


def named_collection(collection: Collection) -> Collection:
    """The same runs by task and algorithm, also where they were named one by one without labels."""
    if collection.grouped:
        return collection
    names = [run.folder.name for run in collection.runs]
    runs = [
        named_run(run.folder, None if run.label == name else run.label) for run, name in zip(collection.runs, names)
    ]
    return Collection(runs, True, collection.left_out)


def is_above(word: str) -> bool:
    """Whether a word names a pattern, or a folder with runs somewhere below it."""
    return glob.has_magic(word) or (Path(word).is_dir() and any(Path(word).rglob(RECORD)))


def has_records(folder: Path) -> bool:
    """Whether it is a run folder with records."""
    return (folder / RECORD).is_file()


def has_iterations(folder: Path) -> bool:
    """Whether a run has done an iteration."""
    try:
        load(folder)
    except ValueError:
        return False
    return True


def run_folders(word: str) -> List[Path]:
    """The run folders that a word stands for, sorted; those of a study in its order."""
    found: List[Path] = []
    for name in sorted(glob.glob(word)) if glob.has_magic(word) and not Path(word).exists() else [word]:
        path = Path(name)
        if is_study(path):
            study = load_study(path)
            found += [folder for folder in map(study.run_folder, study.points) if folder is not None]
        elif has_records(path):
            found.append(path)
        else:
            found += sorted(file.parent for file in path.rglob(RECORD))
    return found


def named_run(folder: Path, label: Optional[str] = None) -> LabeledRun:
    """A run labeled by its algorithm, with its task as title."""
    settings = read_settings(folder)
    task = settings.get("task", {}).get("name") or folder.parent.parent.name
    algo = settings.get("algo", {}).get("name") or folder.parent.name
    return read_run(folder, label or str(algo), str(task))


def read_settings(folder: Path) -> Dict[str, Any]:
    """A run's composed configuration, {} where it is missing or damaged: a picture needs its names alone."""
    try:
        content = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError):
        return {}
    if not isinstance(content, dict):
        return {}
    return {
        key: value if key not in ("task", "algo") or isinstance(value, dict) else {} for key, value in content.items()
    }


def by_title_and_label(runs: List[LabeledRun]) -> Dict[str, Dict[str, List[LabeledRun]]]:
    """The runs by task, then by algorithm, in the order of their first ones."""
    groups: Dict[str, Dict[str, List[LabeledRun]]] = {}
    for run in runs:
        groups.setdefault(run.title, {}).setdefault(run.label, []).append(run)
    return groups
