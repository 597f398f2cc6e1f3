"""A run's records: metrics.csv and eval.csv, TensorBoard events, and the console's lines or table."""

import csv
import io
import math
import os
import sys
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.outputs import write_text
from harl_isaac.training.hparams import write_settings

SHOWN = (  # title on the console, metric, format
    ("return", "episode/return", ".2f"),
    ("success", "episode/success", ".1%"),
    ("speed", "episode/speed", ".2f"),
    ("distance", "episode/distance", ".3f"),
    ("length", "episode/length", ".1f"),
    ("kl", "actor/kl", ".4f"),
    ("entropy", "actor/entropy", ".2f"),
    ("expl.var", "critic/explained_variance", ".2f"),
    ("q", "critic/q", ".2f"),
    ("alpha", "actor/alpha", ".4f"),
    ("td error", "critic/td_error", ".3f"),
    ("steps/s", "time/steps_per_second", ".0f"),
    ("collect/s", "time/collect_steps_per_second", ".0f"),
    ("diverged", "episode/diverged", ".2%"),
    ("overflow", "episode/overflow", ".2%"),
    ("unconverged", "episode/unconverged", ".2%"),
    ("restarts", "episode/restarts", ".2%"),
    ("crashed", "episode/crashed", ".2%"),
)
TROUBLE = ("diverged", "overflow", "unconverged", "restarts", "crashed")  # shown only where there is any


def read(metrics: Dict[str, Any]) -> Dict[str, float]:
    """Metrics as numbers: all tensors [] are copied from the device together, once."""
    names = [name for name, value in metrics.items() if isinstance(value, Tensor)]
    values = torch.stack([metrics[name].float() for name in names]).tolist() if names else []
    numbers = {**metrics, **dict(zip(names, values))}
    return {name: float(value) for name, value in numbers.items()}


class CsvFile:
    """A CSV file that grows by a row at a time; after a resume, rows from beyond the checkpoint are gone.

    A row may bring new columns, such as a learner's first metrics after the warmup; they are nan in the rows before.
    """

    def __init__(self, path: Path, iteration: int):
        self.path = path
        self.columns: Optional[List[str]] = None
        rows = read_rows(path)
        if rows:
            self.columns = rows[0]
            kept = [
                row for row in rows[1:] if len(row) == len(rows[0]) and row[0].isdigit() and int(row[0]) <= iteration
            ]
            text = "".join(map(csv_line, [rows[0], *kept]))
            write_text(path, text)

    def add(self, iteration: int, numbers: Dict[str, float]) -> None:
        """Append a row; the first one names the columns."""
        columns = ["iteration", *numbers]
        text = ""
        if self.columns is None:
            self.columns = columns
            text = csv_line(columns)
        elif not set(columns) <= set(self.columns):
            self._change_columns(columns + [name for name in self.columns if name not in columns])
        text += csv_line([str(iteration)] + [f"{numbers.get(name, math.nan):.9g}" for name in self.columns[1:]])
        with self.path.open("a", encoding="utf-8") as file:
            file.write(text)

    def _change_columns(self, columns: List[str]) -> None:
        """Write the rows so far anew, with these columns."""
        with self.path.open(encoding="utf-8") as file:
            rows = [[row.get(name, "nan") for name in columns] for row in csv.DictReader(file)]
        text = "".join(map(csv_line, [columns, *rows]))
        write_text(self.path, text)
        self.columns = columns


def csv_line(row: List[str]) -> str:
    """A row as a line of a CSV file; names with commas are quoted."""
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerow(row)
    return buffer.getvalue()


def read_rows(path: Path) -> List[List[str]]:
    """Rows of a CSV file of iterations; [] without one. A file without their header is moved aside."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", errors="replace") as file:
        rows = list(csv.reader(line.replace("\0", "") for line in file))
    if rows and (rows[0][:2] != ["iteration", "steps"] or len(rows[0]) < 3):
        aside = path.with_suffix(".damaged.csv")
        path.replace(aside)
        print(f"{path} has no whole header: moved to {aside}, a new one begins", file=sys.stderr, flush=True)
        return []
    return rows


class Logger:
    """Writes and shows one iteration's metrics. `total` is the number of environment steps of the whole run."""

    def __init__(self, folder: Path, console: str, interval: int, total: int, iteration: int = 0, steps: int = 0):
        from torch.utils.tensorboard import SummaryWriter  # takes a second to import

        self.folder = folder
        self.total = total
        self.interval = interval
        self.metrics = CsvFile(folder / "metrics.csv", iteration)
        self.evaluations = CsvFile(folder / "eval.csv", iteration)
        self.events = SummaryWriter(str(folder), purge_step=steps + 1 if steps else None)
        self.failed = False  # whether something could not be written or shown
        self.started = time.monotonic()
        self.first_steps = steps
        terminal = sys.stdout.isatty()
        self.live_table = LiveTable() if console == "auto" and terminal else None
        self.lines = self.live_table is None and console != "none"

    def settings(self, settings: Dict[str, Any], steps: int) -> None:
        """Record the run's settings, from which it goes on after `steps`."""
        with self._errors_reported():
            write_settings(self.events, settings, steps)

    def iteration(self, iteration: int, steps: int, numbers: Dict[str, float]) -> None:
        """Record an iteration's metrics, after `steps` environment steps in all, and show them.

        What cannot be written or shown is reported once on stderr; training goes on.
        """
        with self._errors_reported():
            self.metrics.add(iteration, numbers)
        with self._errors_reported():
            self._to_events(numbers, steps)
        left = self._seconds_left(steps)
        if self.live_table is not None:
            with self._errors_reported():
                self.live_table.show(steps, self.total, numbers, left)
        elif iteration % self.interval == 0 or steps >= self.total:
            self.say(f"{steps}/{self.total} steps | {line(numbers)} | left {clock(left)}")

    def evaluation(self, iteration: int, steps: int, means: Dict[str, float]) -> None:
        """Record an evaluation's means and show them."""
        with self._errors_reported():
            self.evaluations.add(iteration, {"steps": steps, **means})
        with self._errors_reported():
            self._to_events({"eval/" + name: value for name, value in means.items()}, steps)
        text = ", ".join(f"{name} {value:.3g}" for name, value in means.items())
        self.say(f"evaluation at {steps} steps: {text}")

    def say(self, text: str) -> None:
        """Show a message."""
        with self._errors_reported():
            if self.live_table is not None:
                self.live_table.say(text)
            elif self.lines:
                show(text)

    def close(self) -> None:
        """Finish the event file and give the terminal back."""
        with self._errors_reported():
            self.events.close()
        if self.live_table is not None:
            with self._errors_reported():
                self.live_table.close()

    @contextmanager
    def _errors_reported(self) -> Iterator[None]:
        """Report the first error of writing or showing on stderr, and go on: records are worth less than the run."""
        try:
            yield
        except OSError as error:
            if not self.failed:
                self.failed = True
                warn(f"records of {self.folder} are incomplete from here on ({error}); training goes on")

    def _to_events(self, numbers: Dict[str, float], steps: int) -> None:
        for name, value in numbers.items():
            if math.isfinite(value):
                self.events.add_scalar(name, value, steps)

    def _seconds_left(self, steps: int) -> float:
        done = max(steps - self.first_steps, 1)
        return (time.monotonic() - self.started) * max(self.total - steps, 0) / done


class NoLogger:
    """A logger that records nothing: of all processes of a run but the first."""

    def settings(self, settings: Dict[str, Any], steps: int) -> None:
        """Record nothing."""

    def iteration(self, iteration: int, steps: int, numbers: Dict[str, float]) -> None:
        """Record nothing."""

    def evaluation(self, iteration: int, steps: int, means: Dict[str, float]) -> None:
        """Record nothing."""

    def say(self, text: str) -> None:
        """Show nothing."""

    def close(self) -> None:
        """Finish nothing."""


def show(text: str) -> None:
    """Print a line; where nobody reads it any more (`| head`), what follows is dropped."""
    try:
        print(text, flush=True)
    except (BrokenPipeError, ValueError):  # ValueError: the stream is closed
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115  # for the rest of the process


def warn(text: str) -> None:
    """Print a line on stderr, if it can be."""
    with suppress(OSError, ValueError):
        print(text, file=sys.stderr, flush=True)


class LiveTable:
    """A table of the latest metrics and a progress bar on a terminal."""

    def __init__(self) -> None:
        from rich.live import Live
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn

        self.bar = Progress(
            TextColumn("{task.fields[steps]} steps"),
            BarColumn(40),
            TaskProgressColumn(),
            TextColumn("left {task.fields[left]}"),
        )
        self.task = self.bar.add_task("", total=1, steps="0", left="?")
        self.live = Live(self.bar, refresh_per_second=4)
        self.live.start()

    def show(self, steps: int, total: int, numbers: Dict[str, float], left: float) -> None:
        """Replace the table and move the bar; `left` in seconds."""
        from rich.console import Group
        from rich.table import Table

        table = Table(*[title for title, _ in shown(numbers)], box=None, padding=(0, 1))
        for column in table.columns:
            column.no_wrap = True
        table.add_row(*[text for _, text in shown(numbers)])
        self.bar.update(self.task, completed=min(steps / total, 1.0), steps=f"{steps:,}", left=clock(left))
        self.live.update(Group(table, self.bar))

    def say(self, text: str) -> None:
        """Print a message above the table."""
        self.live.console.print(text, highlight=False, soft_wrap=True)

    def close(self) -> None:
        """Stop updating; the last table stays."""
        self.live.stop()


def shown(numbers: Dict[str, float]) -> List[Tuple[str, str]]:
    """(title, text) of the metrics for the console, without those that the environment does not report."""
    result = []
    for title, name, form in SHOWN:
        value = numbers.get(name)
        if value is None or (title in TROUBLE and not value > 0):
            continue
        result.append((title, "-" if math.isnan(value) else format(value, form)))
    return result


def line(numbers: Dict[str, float]) -> str:
    """One iteration in one line."""
    return " | ".join(f"{title} {text}" for title, text in shown(numbers))


def clock(seconds: float) -> str:
    """90 -> "1:30", 3700 -> "1:01:40"."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
