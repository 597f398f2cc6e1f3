"""The command's first steps, before torch: Isaac Gym refuses to be imported after it."""

import sys
from importlib import import_module
from pathlib import Path
from typing import List

BEFORE_TORCH = {"isaacgym": "isaacgym"}  # family of tasks -> module that must come first


def train() -> None:
    """Entry of `harl-train` and `python train.py`."""
    import_first(sys.argv[1:])
    from harl_isaac.cli import main

    main()


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
