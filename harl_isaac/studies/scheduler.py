"""Runs the points of a study, several at once, each in a process of its own."""

import os
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from typing import Callable, Dict, List, NamedTuple, Optional

from harl_isaac.studies.child import error_in, shares
from harl_isaac.studies.index import FAILED, FINISHED, RUNNING, STOPPED, Point, Study, has_checkpoint
from harl_isaac.training.control import StopSignal
from harl_isaac.training.curves import load
from harl_isaac.training.run_folder import saved_config

POLL = 0.1  # [s] between looks at the processes
STOPPED_CODE = 75  # exit code of a training that a signal stopped, and of a study
FAILURES = (1, 2)  # exit codes of a training that cannot go on; others may be those of one that was asked to stop

Command = Callable[[List[str], List[int]], List[str]]  # (training's words, cores) -> the process's command


class Running(NamedTuple):
    """A point in work."""

    point: Point
    process: "subprocess.Popen[bytes]"
    started: float  # [s] on the monotonic clock


class Scheduler:
    """Keeps up to `jobs` processes at work on the points of a study, and the index up to date."""

    def __init__(self, study: Study, jobs: int, command: Command, say: Callable[[str], None]):
        self.study = study
        self.command = command
        self.say = say
        self.slots: Dict[int, Running] = {}
        self.cores = shares(jobs)

    def run(self, points: List[Point]) -> bool:
        """Run the points to their ends, or until a signal asks to stop; True if it did.

        All processes have ended when this returns; those that were stopped have a checkpoint.
        """
        waiting = list(points)
        stopping = False
        with StopSignal() as stop:
            try:
                while self.slots or (waiting and not stop.requested):
                    if stop.requested and not stopping:
                        stopping = True
                        self.signal_all(signal.SIGTERM)
                    if not stop.requested:
                        self.fill(waiting)
                    self.collect(stop.requested)
                    time.sleep(POLL)
            except KeyboardInterrupt:  # the second one
                self.end_all()
            except BaseException:
                self.end_all()
                raise
        return stop.requested

    def fill(self, waiting: List[Point]) -> None:
        """Start waiting points in the free slots."""
        for slot, cores in enumerate(self.cores):
            if slot not in self.slots and waiting:
                point = waiting.pop(0)
                self.slots[slot] = self.start(point, cores)
                self.study.save()

    def start(self, point: Point, cores: List[int]) -> Running:
        """Start a point, or resume it where its run has a checkpoint."""
        words = [*self.study.words_of(point), f"run_root={self.study.folder / 'runs'}"]
        folder = self.study.run_folder(point)
        resumed = folder is not None and has_checkpoint(folder)
        if resumed:
            words.append(f"resume={folder}")
        log = self.study.log_file(point)
        log.parent.mkdir(exist_ok=True)
        with log.open("ab") as file:
            process = subprocess.Popen(
                self.command(words, cores),
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C of a terminal reaches the study alone
            )
        point.status = RUNNING
        point.error = None
        point.attempts += 1
        self.say(f"{point.key}: {'resumed' if resumed else 'started'}, log {log}")
        return Running(point, process, time.monotonic())

    def collect(self, stopping: bool) -> None:
        """Take the ended processes out of their slots."""
        for slot, running in list(self.slots.items()):
            code = running.process.poll()
            if code is not None:
                del self.slots[slot]
                self.note_end(running, code, stopping)

    def note_end(self, running: Running, code: int, stopping: bool) -> None:
        """Write into the index how a point's process ended."""
        point = running.point
        folder = self.study.run_folder(point)
        if folder is not None:
            point.folder = str(folder.relative_to(self.study.folder))
        steps = steps_of(folder)
        if code == 0 and steps >= total_steps(self.study.words_of(point), folder):
            point.status = FINISHED
        elif code in (0, STOPPED_CODE) or (stopping and code not in FAILURES):
            point.status = STOPPED
        else:
            point.status = FAILED
            point.error = error_in(self.study.log_file(point), code)
        self.study.save()
        seconds = time.monotonic() - running.started
        self.say(f"{point.key}: {point.error or f'{steps} steps'} ({point.status}, {seconds:.0f} s)")

    def signal_all(self, number: int) -> None:
        """Send a signal to every process that runs."""
        for running in self.slots.values():
            with suppress(ProcessLookupError):
                running.process.send_signal(number)

    def end_all(self) -> None:
        """Kill what runs, with what it has started; the last checkpoints are whole."""
        for running in self.slots.values():
            with suppress(ProcessLookupError):
                os.killpg(running.process.pid, signal.SIGKILL)
            running.process.wait()
            running.point.status = STOPPED
        self.slots.clear()
        self.study.save()


def steps_of(folder: Optional[Path]) -> int:
    """Environment steps that a run has done, by its records."""
    if folder is None:
        return 0
    try:
        return int(load(folder)["steps"][-1])
    except (ValueError, KeyError):
        return 0


def total_steps(words: List[str], folder: Optional[Path]) -> float:
    """Environment steps that a run is to do: those given now, else those of its settings."""
    for word in words:
        if word.startswith("total_steps="):
            return float(word.partition("=")[2])
    return float(saved_config(folder)["total_steps"]) if folder is not None else float("inf")
