"""Entry points of the commands. They run before torch is imported: Isaac Gym refuses to be imported after it."""

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Callable, List

from harl_isaac.env import SimulatorError

BEFORE_TORCH = {"isaacgym": "isaacgym"}  # family of tasks -> module to import before torch


def train() -> None:
    """Entry point of `harl-train` and `python train.py`."""
    import_first(sys.argv[1:])
    from harl_isaac.cli.train import main

    main()


def evaluate() -> None:
    """Entry point of `scripts/evaluate.py`."""
    run_command("evaluate")


def play() -> None:
    """Entry point of `scripts/play.py`."""
    run_command("play")


def list_tasks() -> None:
    """Entry point of `scripts/list_tasks.py`."""
    run_command("list_tasks")


def draw_tasks() -> None:
    """Entry point of `scripts/draw_tasks.py`."""
    run_command("draw_tasks")


def plot() -> None:
    """Entry point of `scripts/plot.py`."""
    run_command("plot")


def table() -> None:
    """Entry point of `scripts/table.py`."""
    run_command("table")


def study() -> None:
    """Entry point of `harl-study` and `scripts/study.py`."""
    run_command("study")


def report() -> None:
    """Entry point of `harl-report` and `scripts/report.py`."""
    run_command("report")


def theory() -> None:
    """Entry point of `scripts/theory.py`."""
    run_command("theory")


def run_command(name: str) -> None:
    """Run `main` of harl_isaac/cli/<name>.py as `run_script` does."""
    import_first(sys.argv[1:])
    run_script(import_module("harl_isaac.cli." + name).main)


def run_script(main: Callable[[], None]) -> None:
    """Run `main`; errors are printed on stderr. Exit code 2 for user errors (one line), 1 for a simulator's crash."""
    try:
        main()
    except (ValueError, OSError, SimulatorError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, SimulatorError) else 2)


def import_first(words: List[str]) -> None:
    """Import the module that the requested task needs before torch, if any.

    A module that is not installed is reported later, where the environment is made.
    """
    family = named_task(words).partition("/")[0]
    if family in BEFORE_TORCH:
        with suppress(ImportError):
            import_module(BEFORE_TORCH[family])


def named_task(words: List[str]) -> str:
    """Name of the requested task (task=, experiment= or the resumed run), or '' if unknown."""
    values = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    if "task" in values:
        return values["task"]
    run = values.get("resume") or values.get("run") or ""
    return _task_of_run(run) or values.get("experiment", "")


def _task_of_run(where: str) -> str:
    """Task of the run folder `where`, or of the folder above the checkpoint `where`; '' if it cannot be read."""
    if not where:
        return ""
    import yaml

    path = Path(where)
    for folder in (path, *list(path.parents)[:2]):
        try:
            return str(yaml.safe_load((folder / "config.yaml").read_text())["task"]["name"])
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue
    return ""
