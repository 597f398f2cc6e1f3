"""harl-study name=mpe tasks=mpe/simple_spread algos=happo,mappo seeds=1,2,3 jobs=2 total_steps=1000000: train every
algorithm on every task with every seed, several runs at once.

Keys: name (of the folder studies/<name>, or such a folder; the first word may be it), tasks, algos, seeds (1,2,3 or
1-5), jobs=1 (runs at once, which share the cores out), root=studies. All other words are key=value of training and
hold for every run, or behind the name of an algorithm or a task for its runs alone, as in hasac:algo.n_step=3; {task}
and {algo} in them stand for the run's own, as in experiment={task}-continuous/{algo}.

The same command again, or harl-study <name> alone, goes on: finished runs are kept, stopped ones resumed, failed ones
tried again; more tasks, algorithms and seeds are added. Ctrl-C or SIGTERM stops all runs with a checkpoint each.
Exit code: 0 all finished, 1 some failed, 2 a mistake in the command, 75 stopped. <folder>/study.json is the index.
"""

import sys
from contextlib import redirect_stdout
from itertools import product
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

from harl_isaac.cli.modules import with_loaded_modules
from harl_isaac.cli.overrides import check_command_line, with_free_keys
from harl_isaac.config import RESUMABLE, register
from harl_isaac.registry import register_external_tasks
from harl_isaac.studies.child import training
from harl_isaac.studies.index import (
    FAILED,
    FINISHED,
    RUNNING,
    STOPPED,
    Key,
    Point,
    Study,
    counts,
    is_study,
    load_study,
    split_word,
)
from harl_isaac.studies.scheduler import STOPPED_CODE, Scheduler
from harl_isaac.training.logger import show
from harl_isaac.training.ownership import owned

OWN_KEYS = ("name", "tasks", "algos", "seeds", "jobs", "root")
PER_POINT = {"task": "tasks=", "algo": "algos=", "seed": "seeds="}
REFUSED = ("resume", "run_root", "run_name")  # the study's own business
FAILED_CODE = 1


class Request(NamedTuple):
    """A study's command line."""

    folder: Path
    keys: Optional[List[Key]]  # None: all that the study has
    jobs: int
    words: List[str]  # of training


def main() -> None:
    """Make a study, or go on with it."""
    request = read_request(sys.argv[1:])
    study = load_study(request.folder) if is_study(request.folder) else Study(request.folder)
    points = prepare_points(study, request)
    study.folder.mkdir(parents=True, exist_ok=True)
    with owned(study.folder):
        study.save()
        stopped = train_points(study, points, request.jobs)
    sys.exit(summarize(study, points, stopped))


def read_request(words: List[str]) -> Request:
    """The command line's words, sorted. Raises ValueError."""
    if words and "=" not in words[0]:
        words = [f"name={words[0]}", *words[1:]]
    own: Dict[str, str] = {}
    rest = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(f"{word}: give key=value")
        if key in PER_POINT:
            raise ValueError(f"{word}: a study has several; give {PER_POINT[key]}...")
        if key in REFUSED:
            raise ValueError(f"{word}: a study names its own run folders and resumes them")
        if key in OWN_KEYS:
            own[key] = value
        else:
            rest.append(word)
    if not own.get("name"):
        raise ValueError("give name=<study>, tasks=..., algos=..., seeds=...; --help says more")
    folder = Path(own["name"])
    if not is_study(folder):
        folder = Path(own.get("root", "studies")) / own["name"]
    return Request(folder, asked_keys(own, folder), positive(own.get("jobs", "1"), "jobs"), rest)


def asked_keys(own: Dict[str, str], folder: Path) -> Optional[List[Key]]:
    """The points that tasks, algos and seeds ask for; None where they are not given. Raises ValueError."""
    given = [key for key in PER_POINT.values() if own.get(key[:-1])]
    if not given and is_study(folder):
        return None
    missing = [key for key in PER_POINT.values() if key not in given]
    if missing:
        raise ValueError(f"{folder}: give {' and '.join(key + '...' for key in missing)} too")
    tasks, algos = ([word for word in own[key].split(",") if word] for key in ("tasks", "algos"))
    for name in (*tasks, *algos):
        if ":" in name:
            raise ValueError(f"{name}: give modules=[{name.partition(':')[0]}], and in tasks= and algos= names alone")
    return list(dict.fromkeys(Key(*each) for each in product(tasks, algos, seeds(own["seeds"]))))


def seeds(text: str) -> List[int]:
    """The seeds of "1,2,3" or "1-5". Raises ValueError."""
    found: List[int] = []
    for word in text.split(","):
        first, dash, last = word.partition("-")
        if not first.isdigit() or not (last if dash else first).isdigit():
            raise ValueError(f"seeds={text}: give whole numbers, such as seeds=1,2,3 or seeds=1-5")
        found += range(int(first), int(last or first) + 1)
    return found


def positive(text: str, key: str) -> int:
    """A whole number of at least 1. Raises ValueError."""
    if not text.isdigit() or int(text) < 1:
        raise ValueError(f"{key}={text}: give a whole number of at least 1")
    return int(text)


def prepare_points(study: Study, request: Request) -> List[Point]:
    """Add to the study what is asked for, and choose the points to run. Raises ValueError for settings that cannot be.

    Nothing is written: a mistake costs nothing.
    """
    longer = merge_words(study, request.words)
    study.add(request.keys or [])
    chosen = [point for point in study.points if request.keys is None or point.key in request.keys]
    check_settings(study, chosen)
    for point in chosen:
        if point.status == RUNNING or (longer and point.status == FINISHED):  # RUNNING: its study was killed
            point.status = STOPPED
    return chosen


def merge_words(study: Study, given: List[str]) -> bool:
    """Join the words given now to the study's; whether its length changed. Raises ValueError for another setting."""
    values = {word.partition("=")[0]: word for word in study.words}
    before = dict(values)
    for word in given:
        key = word.partition("=")[0]
        was = values.get(key)
        name = split_word(word)[1].partition("=")[0]
        resumable = any(name == each or name.startswith(each + ".") for each in RESUMABLE)
        if study.points and was != word and not resumable:
            was_text = f"was made with {was}" if was else f"was made without {key}"
            raise ValueError(f"study {study.folder} {was_text}, now {word}; give another name= for other settings")
        values[key] = word
    study.words[:] = values.values()
    lengths = [{key: word for key, word in each.items() if key.endswith("total_steps")} for each in (before, values)]
    return bool(study.points) and lengths[0] != lengths[1]


def check_settings(study: Study, points: List[Point]) -> None:
    """Compose the settings of every task with every algorithm once. Raises ValueError with the first mistake."""
    check_names(study, points)
    with_loaded_modules(study.words)
    register_external_tasks([point.task for point in points])
    register()
    firsts = {(point.task, point.algo): point for point in reversed(points)}
    for point in reversed(list(firsts.values())):
        try:
            check_command_line(with_free_keys(with_loaded_modules(study.words_of(point))))
        except ValueError as error:
            raise ValueError(f"{point.task}, {point.algo}: {error}") from None


def check_names(study: Study, points: List[Point]) -> None:
    """Raise ValueError for a setting of an algorithm or a task that the study does not have."""
    names = {name for point in [*study.points, *points] for name in (point.task, point.algo)}
    for word in study.words:
        whose, _ = split_word(word)
        if whose is not None and whose not in names:
            raise ValueError(
                f"{word}: {whose} is no task or algorithm of the study; possible: {', '.join(sorted(names))}"
            )


def train_points(study: Study, points: List[Point], jobs: int) -> bool:
    """Run those that have not finished; True if a signal stopped it."""
    left = [point for point in points if point.status != FINISHED]
    for point in left:
        if point.status == FAILED:
            show(f"{point.key}: failed before ({point.error}), tried again")
    kept = len(points) - len(left)
    show(f"{study.folder}: {len(points)} runs, {kept} finished, {len(left)} to go, {jobs} at once")
    return Scheduler(study, jobs, training, show).run(left)


def summarize(study: Study, points: List[Point], stopped: bool) -> int:
    """Print what became of the points; the exit code."""
    bad = [point for point in points if point.status != FINISHED]
    with redirect_stdout(sys.stderr if bad else sys.stdout):
        show(f"{study.folder}: " + ", ".join(f"{number} {status}" for status, number in counts(points)))
        for point in bad:
            show(f"  {point.key}: {point.status}{f' ({point.error})' if point.error else ''}")
        if bad:
            show(f"go on with: harl-study {study.folder}")
        else:
            show(f"compare with: harl-report study={study.folder}")
    if any(point.status == FAILED for point in bad):
        return STOPPED_CODE if stopped else FAILED_CODE
    return STOPPED_CODE if bad else 0
