"""Entry points of the commands. They run before torch is imported: Isaac Gym refuses to be imported after it.

Exit codes: 0 finished, 1 a simulator crashed, 2 a mistake that one line explains, 130 interrupted.
"""

import sys
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Callable, List, Optional

from harl_isaac import __version__
from harl_isaac.cli.commands import COMMANDS, HELP, overview, usage
from harl_isaac.hints import missing_extra

BEFORE_TORCH = {"isaacgym": "isaacgym"}  # family of tasks -> module to import before torch


def train() -> None:
    """Entry point of `harl-train` and `python train.py`."""
    run("train")


def evaluate() -> None:
    """Entry point of `harl-evaluate` and `scripts/evaluate.py`."""
    run("evaluate")


def play() -> None:
    """Entry point of `harl-play` and `scripts/play.py`."""
    run("play")


def export() -> None:
    """Entry point of `harl-export` and `scripts/export.py`."""
    run("export")


def list_tasks() -> None:
    """Entry point of `harl-list` and `scripts/list_tasks.py`."""
    run("list")


def draw_tasks() -> None:
    """Entry point of `scripts/draw_tasks.py`."""
    run("draw")


def plot() -> None:
    """Entry point of `harl-plot` and `scripts/plot.py`."""
    run("plot")


def table() -> None:
    """Entry point of `harl-table` and `scripts/table.py`."""
    run("table")


def study() -> None:
    """Entry point of `harl-study` and `scripts/study.py`."""
    run("study")


def report() -> None:
    """Entry point of `harl-report` and `scripts/report.py`."""
    run("report")


def archive() -> None:
    """Entry point of `harl-archive` and `scripts/archive.py`."""
    run("archive")


def theory() -> None:
    """Entry point of `harl-theory` and `scripts/theory.py`."""
    run("theory")


def run(name: str) -> None:
    """Run a command of COMMANDS as `run_script` does; --help and --version are answered without importing it."""
    words = sys.argv[1:]
    if "--version" in words:
        print(f"harl_isaac {__version__}")
        return
    if HELP & set(words):
        print(usage(name))
        return
    import_first(words)
    run_script(import_module("harl_isaac.cli." + COMMANDS[name].module).main)


def main(words: Optional[List[str]] = None) -> None:
    """Run the command that the first word names. Exit code 2, in one line, for a word that is none."""
    words = sys.argv[1:] if words is None else words
    if words[:1] == ["--version"]:
        print(f"harl_isaac {__version__}")
        return
    if not words or words[0] in HELP:
        print(overview())
        return
    name, *rest = words
    if name not in COMMANDS:
        fail(f"harl_isaac: {name} is no command; possible: {', '.join(COMMANDS)}", 2)
    sys.argv[1:] = rest
    run(name)


def run_script(main: Callable[[], None]) -> None:
    """Run `main`; errors are printed on stderr. Exit code 2 for user errors (one line), 1 for a simulator's crash."""
    program = Path(sys.argv[0]).name.replace("__main__.py", "harl_isaac")
    try:
        main()
    except ModuleNotFoundError as error:
        advice = missing_extra(error.name)
        if not advice:
            raise
        fail(f"{program}: {advice}", 2)
    except Exception as error:
        from harl_isaac.env import SimulatorError  # torch is imported by now

        if not isinstance(error, (ValueError, OSError, SimulatorError)):
            raise
        fail(f"{program}: {error}", 1 if isinstance(error, SimulatorError) else 2)
    except KeyboardInterrupt:
        fail(f"{program}: interrupted", 130)


def fail(line: str, code: int) -> None:
    """End the process with a line on stderr and an exit code."""
    print(line, file=sys.stderr)
    sys.exit(code)


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
    run = values.get("resume") or values.get("run") or values.get("policy") or ""
    return _task_of_run(run) or values.get("experiment", "")


def _task_of_run(where: str) -> str:
    """Task of the run folder `where`, or of the folder above the checkpoint `where`; '' if it cannot be read."""
    if not where:
        return ""
    import yaml

    path = Path(where)
    if path.suffix == ".policy":
        return _task_of_policy(path)
    for folder in (path, *list(path.parents)[:2]):
        try:
            return str(yaml.safe_load((folder / "config.yaml").read_text())["task"]["name"])
        except (OSError, ValueError, RecursionError, yaml.YAMLError, KeyError, TypeError):  # reported on opening it
            continue
    return ""


def _task_of_policy(path: Path) -> str:
    """Task of a policy file, from the words in it: nothing is unpickled; '' if it cannot be read."""
    import pickletools
    import zipfile

    try:
        with zipfile.ZipFile(path) as archive:
            record = next(name for name in archive.namelist() if name.endswith("data.pkl"))
            words = [word for _, word, _ in pickletools.genops(archive.read(record)) if isinstance(word, str)]
        return words[words.index("task") + 1]
    except (OSError, ValueError, StopIteration, IndexError, zipfile.BadZipFile):
        return ""
