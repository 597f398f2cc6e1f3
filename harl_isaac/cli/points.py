"""A point of a sweep: hydra's launcher calls it, in this process or in one of its own (joblib's, submitit's).

There the run gets a process for itself, which this one watches: it is stopped with a checkpoint where the sweep is
stopped, where this process is, and before submitit requeues the job, and a requeued point goes on with its run.
Imports nothing heavy.
"""

import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Tuple

from filelock import FileLock, Timeout
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from harl_isaac.studies.child import error_in, shares, training

USER_ERRORS = (ValueError, OSError, FloatingPointError)  # with a message meant for the user
BASIC = "basic"  # hydra's launcher in this process, and its sweeper over all values
FAILED = ".failed"  # ending of files in the sweep's own folder: a point each
STOP = "stop"  # file of the sweep's own folder: its points are to stop
SCORE_FILE = "HARL_SCORE_FILE"  # environment variable: the file that gets a run's score
STOPPED = 75  # exit code of a run that a signal stopped: EX_TEMPFAIL of sysexits.h, "try again"
POLL = 0.1  # [s] between looks at the run
NOT_OF_A_RUN = ("launcher", "sweeper")
REQUEUE = [getattr(signal, name) for name in ("SIGUSR1", "SIGUSR2") if hasattr(signal, name)]


class PointFailed(Exception):
    """A point of a multirun failed; what is wrong has been printed."""


class PointStopped(Exception):
    """A point of a multirun was stopped, and its run can go on."""


@dataclass(frozen=True)
class Point:
    """The function that a launcher calls, with the composed settings of each point. It is pickled."""

    control: str  # the sweep's own folder, of this machine or of all that see the file system
    flags: Tuple[str, ...]  # hydra's options that add configurations
    train: Callable[[DictConfig], float]  # in this process

    def __call__(self, cfg: DictConfig) -> float:
        """Train the point's run and return its score. Raises PointFailed or PointStopped."""
        hydra = HydraConfig.get()
        if hydra.runtime.choices["hydra/launcher"] == BASIC:
            return self.train_here(cfg)
        name = f"{Path(hydra.sweep.dir).name}-{hydra.job.num}-seed{cfg.seed}"
        words = [*self.flags, *run_words(list(hydra.overrides.task), name)]
        jobs = int(hydra.launcher.get("n_jobs", 0))
        attempt = Attempt(Path(self.control), int(hydra.job.num), Path(hydra.sweep.dir))
        try:
            return attempt.run(words, jobs if jobs >= 0 else os.cpu_count() or 1)
        except PointFailed as error:
            note_failed(Path(self.control), attempt.number, point_name(), str(error))
            raise

    def train_here(self, cfg: DictConfig) -> float:
        """Train in this process. Raises PointFailed; a signal ends the process."""
        from harl_isaac.env import SimulatorError

        try:
            return self.train(cfg)
        except (*USER_ERRORS, SimulatorError) as error:
            if os.environ.get("HARL_FULL_ERROR"):
                raise
            note_failed(Path(self.control), int(HydraConfig.get().job.num), point_name(), str(error))
            raise PointFailed(str(error)) from None


def run_words(words: List[str], name: str) -> List[str]:
    """Words of the point's run, which has a name, so that the same point goes on with it."""
    own = [word for word in words if word.partition("=")[0] not in NOT_OF_A_RUN]
    keys = [word.partition("=")[0].lstrip("+") for word in own]
    if "run_name" in keys or "resume" in keys:
        return own
    return [*own, f"run_name={name}", "resume=auto"]


class Attempt(NamedTuple):
    """One execution of a point in a launcher's process."""

    control: Path
    number: int  # of the point in its sweep
    folder: Path  # of the sweep, with the logs

    def run(self, words: List[str], jobs: int) -> float:
        """Train in a process of its own, one of `jobs` at once (0: unknown), and return the score.

        Raises PointFailed or PointStopped; ends the process where a signal asked for that.
        """
        if (self.control / STOP).exists():
            raise PointStopped(f"point {self.number}: the sweep was stopped")
        log = self.folder / f"{self.number}.log"
        score = self.folder / f".{self.number}.score"
        begun = self.folder / f".{self.number}.begun"
        if begun.exists() and "resume=auto" not in words and any(word.startswith("run_name=") for word in words):
            words = [*words, "resume=auto"]  # requeued
        begun.touch()
        say(f"point {self.number} begins, log {log}: {' '.join(words)}")
        with signals_noted() as noted, cores_of(self.control, jobs) as cores:
            code = self.watch(words, cores, log, score, noted)
        if noted.number is not None:
            noted.hand_on()
        return self.result(code, log, score)

    def watch(self, words: List[str], cores: List[int], log: Path, score: Path, noted: "Noted") -> int:
        """Start the run and wait for its end, after a request to stop where there is one; returns its exit code."""
        parent = os.getppid()
        stopping = False
        with suppress(FileNotFoundError):
            score.unlink()
        with log.open("ab") as out:
            process = subprocess.Popen(
                training(words, cores),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, SCORE_FILE: str(score.resolve())},
                start_new_session=True,  # Ctrl-C of a terminal reaches the sweep alone
            )
        try:
            while process.poll() is None:
                asked = noted.number is not None or (self.control / STOP).exists()
                if not stopping and (asked or os.getppid() != parent):
                    stopping = True
                    process.send_signal(signal.SIGTERM)
                time.sleep(POLL)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
        if os.getppid() != parent:  # nobody waits for the result
            os._exit(STOPPED)
        return process.returncode

    def result(self, code: int, log: Path, score: Path) -> float:
        """The score of a run that has ended with this code. Raises PointFailed or PointStopped."""
        if code == STOPPED or (code and (self.control / STOP).exists()):
            raise PointStopped(f"point {self.number}: stopped")
        with suppress(OSError, ValueError):
            if code == 0:
                value = float(score.read_text())
                say(f"point {self.number}: score {value:.4g}")
                return value
        raise PointFailed(error_in(log, code))


def report_score(score: float) -> None:
    """Leave a run's score where the process that watches it, if any, looks for it."""
    file = os.environ.get(SCORE_FILE)
    if file:
        Path(file).write_text(repr(score))


@dataclass
class Noted:
    """The first signal that this process got, and the handlers that were there before."""

    before: Dict[int, Any]
    number: Optional[int] = None

    def note(self, number: int, frame: Any) -> None:
        """Handle a signal: the run is to stop."""
        self.number = self.number or number

    def hand_on(self) -> None:
        """Call submitit's own handler, which requeues the job and ends the process; else end a job as stopped."""
        before = self.before.get(self.number or 0)
        if self.number in REQUEUE and callable(before):
            before(self.number, None)
        if "SUBMITIT_EXECUTOR" in os.environ:
            sys.exit(STOPPED)  # without a result: Slurm may start the job again


@contextmanager
def signals_noted() -> Iterator[Noted]:
    """Note signals instead of handling them; Ctrl-C, which the sweep gets too, is the sweep's business."""
    noted = Noted({})
    for number in (signal.SIGTERM, *REQUEUE):
        noted.before[number] = signal.signal(number, noted.note)
    noted.before[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield noted
    finally:
        for number, handler in noted.before.items():
            signal.signal(number, handler)


@contextmanager
def cores_of(control: Path, jobs: int) -> Iterator[List[int]]:
    """A share of the cores, that no other of `jobs` runs has; none where their number is unknown."""
    if jobs < 1:
        yield []
        return
    control.mkdir(parents=True, exist_ok=True)
    for number, cores in enumerate(shares(jobs)):
        lock = FileLock(str(control / f"cores-{number}.lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            continue
        try:
            yield cores
        finally:
            lock.release()
        return
    yield []


def say(text: str) -> None:
    """Print a line of the sweep; nobody may be reading."""
    with suppress(OSError, ValueError):
        print(f"harl-train: {text}", flush=True)


def point_name() -> str:
    """The words of the point that runs."""
    return " ".join(HydraConfig.get().overrides.task)


def note_failed(control: Path, number: int, point: str, error: str) -> None:
    """Print what is wrong with a point, and leave its name for the end of the sweep."""
    print(f"harl-train: {point}: {error}", file=sys.stderr, flush=True)
    control.mkdir(parents=True, exist_ok=True)
    (control / f"{number:06d}{FAILED}").write_text(point)


def failed_points(control: Path) -> List[str]:
    """Names of the points that have failed."""
    return [file.read_text() for file in sorted(control.glob("*" + FAILED))]
