"""Training runs that get a signal: at a moment from outside, or by their own hand in the middle of a save."""

import io
import os
import random
import signal
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Dict, List, NamedTuple, Optional

import torch

from support.commands import FORKS, ROOT, run_script_here

SIGNALS = {
    "TERM": [signal.SIGTERM],
    "INT": [signal.SIGINT],
    "INT twice": [signal.SIGINT, signal.SIGINT],
    "KILL": [signal.SIGKILL],
}
PHASES = ("before", "half written", "written", "moved")  # of a save
PATIENCE = 120.0  # [s] for a run to end
GONE = 20.0  # [s] for its processes to end: workers have ten to close their games


class Moment(NamedTuple):
    """A signal's moment: in a phase of the save `save`, counted from 1, or a time after the first checkpoint."""

    kind: str  # a key of SIGNALS
    save: int = 0  # 0: not in a save
    phase: str = ""
    delay: float = 0.0  # [s]


class Ended(NamedTuple):
    """A run's end."""

    code: int
    errors: str
    seconds: float  # from the first checkpoint to the end
    saves: int


def start(words: List[str], cwd: Path, moment: Optional[Moment] = None) -> Ended:
    """Run train.py in a process of its own, with a signal at the moment, until it ends."""
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        count = Path(folder) / "saves"
        process = FORKS.Process(target=victim, args=(words, str(cwd), outputs, str(count), moment))
        process.start()
        begun = time.monotonic()
        while process.exitcode is None and not (count.exists() and count.stat().st_size):
            process.join(0.005)
            assert time.monotonic() < begun + PATIENCE
        first = time.monotonic()
        if moment is not None and not moment.save:
            process.join(moment.delay)
            send(moment.kind, process.pid if process.exitcode is None else None)
        process.join(PATIENCE)
        seconds = time.monotonic() - first
        if process.exitcode is None:
            process.kill()
        errors = Path(outputs[1]).read_text() if Path(outputs[1]).exists() else ""
        return Ended(process.exitcode, errors, seconds, count.stat().st_size if count.exists() else 0)


def send(kind: str, process: Optional[int]) -> None:
    """Send the signals of a kind, two of them a moment apart; None: the process has ended."""
    for number in SIGNALS[kind] if process else []:
        try:
            os.kill(process, number)
        except ProcessLookupError:
            return
        time.sleep(0.001)


def victim(words: List[str], cwd: str, outputs: List[str], count: str, moment: Optional[Moment]) -> None:
    """Become train.py; every save adds a byte to the file `count`, and the moment's save sends its signals."""
    save = torch.save
    replace = os.replace
    saves = 0

    def now(phase: str) -> None:
        if moment is not None and (moment.save, moment.phase) == (saves, phase):
            send(moment.kind, os.getpid())

    def saving(state, file):
        nonlocal saves
        saves += 1
        now("before")
        buffer = io.BytesIO()
        save(state, buffer)
        content = buffer.getvalue()
        file.write(content[: len(content) // 2])
        file.flush()
        now("half written")
        file.write(content[len(content) // 2 :])
        now("written")

    def moving(source, target):
        replace(source, target)
        if str(target).endswith(".pt"):
            now("moved")
            with open(count, "a") as file:
                file.write(".")

    torch.save = saving
    os.replace = moving
    run_script_here(str(ROOT / "train.py"), words, cwd, dict(os.environ), outputs)


def moments(kills: int, seed: int, cases: Dict[str, List[str]]) -> List[tuple]:
    """(case, kind, in a save, a seed) of each kill: cases and kinds in turn, half of them during a save."""
    draw = random.Random(seed)
    names = list(cases)
    kinds = list(SIGNALS)
    return [
        (
            names[number % len(names)],
            kinds[number // len(names) % len(kinds)],
            draw.random() < 0.5,
            draw.randrange(2**30),
        )
        for number in range(kills)
    ]


def in_folder(folder: Path) -> List[int]:
    """Processes that work in a folder or below it."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            place = os.readlink(entry / "cwd")
        except OSError:  # it has ended, or belongs to somebody else
            continue
        if Path(place) == folder or folder in Path(place).parents:
            found.append(int(entry.name))
    return found


def shared_memory() -> set:
    """Names in /dev/shm."""
    return set(os.listdir("/dev/shm")) if os.path.isdir("/dev/shm") else set()


@contextmanager
def nothing_left(folder: Path):
    """Assert that within GONE seconds no process works in the folder, and no new shared memory is left."""
    before = shared_memory()
    yield
    end = time.monotonic() + GONE
    while (in_folder(folder) or shared_memory() - before) and time.monotonic() < end:
        time.sleep(0.05)
    assert in_folder(folder) == []
    assert shared_memory() - before == set()
