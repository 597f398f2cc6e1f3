"""The index of a study: its points (task, algorithm, seed), what became of each, and the settings that they share."""

import json
import re
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Dict, Iterable, List, NamedTuple, Optional, Tuple

from harl_isaac.outputs import write_text

INDEX = "study.json"
RUNS = "runs"  # run folders lie in <study>/runs/<task>/<algorithm>/
LOGS = "logs"
FORMAT = 1

WAITING = "waiting"
RUNNING = "running"
FINISHED = "finished"
STOPPED = "stopped"
FAILED = "failed"
STATUSES = (FINISHED, RUNNING, STOPPED, WAITING, FAILED)


class Key(NamedTuple):
    """A point's place in the study."""

    task: str
    algo: str
    seed: int

    def __str__(self) -> str:
        return f"{self.task} {self.algo} seed {self.seed}"


@dataclass
class Point:
    """One run of a study and its state."""

    task: str
    algo: str
    seed: int
    status: str = WAITING
    folder: Optional[str] = None  # of its run, relative to the study's
    error: Optional[str] = None  # one line, of a failed point
    attempts: int = 0

    @property
    def key(self) -> Key:
        """Task, algorithm and seed."""
        return Key(self.task, self.algo, self.seed)


@dataclass
class Study:
    """A study's folder and its index."""

    folder: Path
    words: List[str] = field(default_factory=list)  # key=value of training, for every point
    points: List[Point] = field(default_factory=list)

    def add(self, keys: Iterable[Key]) -> None:
        """Append the points that are not there yet."""
        known = {point.key for point in self.points}
        self.points += [Point(*key) for key in keys if key not in known]

    def save(self) -> None:
        """Write the index; a crash while writing leaves the last one whole."""
        content = {"format": FORMAT, "words": self.words, "points": [asdict(point) for point in self.points]}
        text = json.dumps(content, indent=2) + "\n"
        write_text(self.folder / INDEX, text)

    def words_of(self, point: Point) -> List[str]:
        """Training's words for a point: {task} and {algo} stand for the point's, `algo:word` holds for those alone."""
        words = [f"task={point.task}", f"algo={point.algo}", f"seed={point.seed}"]
        for word in self.words:
            whose, key = split_word(word)
            if whose in (None, point.task, point.algo):
                words.append(key.replace("{task}", point.task).replace("{algo}", point.algo))
        return words

    def run_folder(self, point: Point) -> Optional[Path]:
        """The newest run folder of a point, those with a checkpoint first; None before it has one."""
        base = self.folder / RUNS / point.task / point.algo
        own = [path for path in base.glob("*") if re.search(rf"-seed{point.seed}(-\d+)?$", path.name)]
        own.sort(key=lambda path: (has_checkpoint(path), path.name))
        return own[-1] if own else None

    def log_file(self, point: Point) -> Path:
        """File of all that the point's training prints."""
        return self.folder / LOGS / f"{point.task.replace('/', '_')}-{point.algo}-seed{point.seed}.log"


def split_word(word: str) -> Tuple[Optional[str], str]:
    """hasac:algo.n_step=3 -> ("hasac", "algo.n_step=3"): for one algorithm or task alone; None: for all."""
    whose, colon, rest = word.partition(":")
    return (whose, rest) if colon and "=" not in whose else (None, word)


def has_checkpoint(folder: Path) -> bool:
    """Whether a run folder can be resumed."""
    return (folder / "checkpoints" / "latest.pt").is_file()


def is_study(folder: Path) -> bool:
    """Whether the folder holds a study's index."""
    return (folder / INDEX).is_file()


def load_study(folder: Path) -> Study:
    """Read a study's index. Raises ValueError where it is missing or damaged."""
    file = folder / INDEX
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["format"] != FORMAT:
            raise ValueError(f"format {content['format']}, this version reads {FORMAT}")
        points = [read_point(values) for values in content["points"]]
        words = [str(word) for word in content["words"]]
    except OSError:
        raise ValueError(f"no study in {folder}: it holds no {INDEX}; harl-study name=... makes one") from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} is damaged ({type(error).__name__}: {error}); restore it, or start anew") from None
    return Study(folder, words, points)


def read_point(values: Dict[str, Any]) -> Point:
    """A point of the index. Raises ValueError where a value is of another kind."""
    point = Point(**values)
    names = (point.task, point.algo)
    if not all(isinstance(name, str) and is_inside(name) for name in names) or not isinstance(point.seed, int):
        raise ValueError(f"point {values}")
    if point.status not in STATUSES or not (point.folder is None or is_inside(point.folder)):
        raise ValueError(f"point {values}")
    return point


def is_inside(path: str) -> bool:
    """Whether a path from a file leads nowhere out of the folder that it is relative to."""
    return bool(path) and not Path(path).is_absolute() and ".." not in Path(path).parts


def counts(points: Iterable[Point]) -> List[Tuple[str, int]]:
    """(status, number of points) for every status that there is."""
    found = [point.status for point in points]
    return [(status, found.count(status)) for status in STATUSES if status in found]
