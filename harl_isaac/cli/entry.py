"""The command's first steps, before torch: Isaac Gym refuses to be imported after it."""

import sys
from importlib import import_module
from pathlib import Path
from typing import List

BEFORE_TORCH = {"isaacgym": "isaacgym"}  # family of tasks -> module that must come first


def train() -> None:
    """Entry of `harl-train` and `python train.py`."""
    import_first(sys.argv[1:])
    from harl_isaac.cli.train import main

    main()


def evaluate() -> None:
    """Entry of `scripts/evaluate.py`."""
    run_command("evaluate")


def play() -> None:
    """Entry of `scripts/play.py`."""
    run_command("play")


def list_tasks() -> None:
    """Entry of `scripts/list_tasks.py`."""
    run_command("list_tasks")


def plot() -> None:
    """Entry of `scripts/plot.py`."""
    run_command("plot")


def table() -> None:
    """Entry of `scripts/table.py`."""
    run_command("table")


def theory() -> None:
    """Entry of `scripts/theory.py`."""
    run_command("theory")


def run_command(name: str) -> None:
    """Run `main` of harl_isaac/cli/<name>.py; user errors are one line on stderr and exit code 2."""
    import_first(sys.argv[1:])
    from harl_isaac.cli.script import run_script

    run_script(import_module("harl_isaac.cli." + name).main)


def import_first(words: List[str]) -> None:
    """Import what the task that a command line (or the run that it names) asks for needs before torch.

    A failure is reported where the environment is made.
    """
    family = named_task(words).partition("/")[0]
    if family in BEFORE_TORCH:
        try:
            import_module(BEFORE_TORCH[family])
        except ImportError:
            pass


def named_task(words: List[str]) -> str:
    """The task that is asked for: by name, or as that of an experiment or a run. Empty where that is not to be seen."""
    values = dict(word.lstrip("+").split("=", 1) for word in words if "=" in word)
    if "task" in values:
        return values["task"]
    return _task_of_run(values.get("resume") or values.get("run") or "") or values.get("experiment", "")


def _task_of_run(where: str) -> str:
    """From the settings in a run folder, or above a checkpoint in one."""
    import yaml

    path = Path(where)
    for folder in [path, *list(path.parents)[:2]] if where else []:
        try:
            return str(yaml.safe_load((folder / "config.yaml").read_text())["task"]["name"])
        except (OSError, yaml.YAMLError, KeyError, TypeError):
            continue
    return ""
