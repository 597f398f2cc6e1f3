"""A sweep (-m) from its beginning to its end: plug-ins of hydra, signals, points that failed."""

import os
import shutil
import signal
import sys
import tempfile
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, NamedTuple

from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from harl_isaac.cli.optuna_sweeper import OptunaSweeper, SearchError
from harl_isaac.cli.overrides import CommandLine, explain
from harl_isaac.cli.points import BASIC, STOP, STOPPED, Point, PointFailed, PointStopped, failed_points, say
from harl_isaac.hints import install

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)
STOPPED_LINE = "the sweep was stopped; the runs that had begun have checkpoints"
EXTRA = ("hydra-joblib-launcher", "hydra-submitit-launcher", "optuna")  # that the extra brings
# Choice of hydra/launcher or hydra/sweeper -> the module that it needs, and its package.
PLUGINS = {
    "launcher": {
        "joblib": ("hydra_plugins.hydra_joblib_launcher", "hydra-joblib-launcher"),
        "submitit_local": ("hydra_plugins.hydra_submitit_launcher", "hydra-submitit-launcher"),
        "submitit_slurm": ("hydra_plugins.hydra_submitit_launcher", "hydra-submitit-launcher"),
        "slurm": ("hydra_plugins.hydra_submitit_launcher", "hydra-submitit-launcher"),
        "ray": ("hydra_plugins.hydra_ray_launcher", "hydra-ray-launcher"),
        "rq": ("hydra_plugins.hydra_rq_launcher", "hydra-rq-launcher"),
    },
    "sweeper": {
        "optuna": ("optuna", "optuna"),
        "ax": ("hydra_plugins.hydra_ax_sweeper", "hydra-ax-sweeper"),
        "nevergrad": ("hydra_plugins.hydra_nevergrad_sweeper", "hydra-nevergrad-sweeper"),
    },
}


class Failure(NamedTuple):
    """The end of a sweep that did not go as asked: a line, and the exit code."""

    line: str
    code: int


def check_installed(words: List[str]) -> None:
    """Raise ValueError, with the package, for a launcher or a sweeper that is asked for and not installed."""
    for word in words:
        key, _, name = word.partition("=")
        group = key.rpartition("/")[2]
        if key in (group, f"hydra/{group}") and group in PLUGINS and name in PLUGINS[group]:
            module, package = PLUGINS[group][name]
            if not has_module(module):
                command = install("sweeps") if package in EXTRA else f"pip install {package}"
                raise ValueError(f"{word} needs {package}, which is not installed: {command}")


def has_module(name: str) -> bool:
    """Whether a module is installed."""
    try:
        return find_spec(name) is not None
    except (ImportError, ValueError):  # of the package around it
        return False


def check_sweep(line: CommandLine, choices: Dict[str, str]) -> None:
    """Raise ValueError for a launcher or a sweeper without a sweep."""
    for group in PLUGINS:
        name = choices.get(f"hydra/{group}", BASIC)
        if name != BASIC and not line.sweep:
            raise ValueError(f"{group}={name} is for the runs of a sweep: add -m")


def run_sweep(
    line: CommandLine,
    choices: Dict[str, str],
    run_root: str,
    train: Callable[[DictConfig], float],
    start: Callable[[Point], Any],
) -> Failure:
    """Run all points, which `start` hands to hydra, to their ends. The code is 0 where nothing failed."""
    register_sweeper()
    control = control_folder(run_root)
    flags = tuple(flag for flag in line.flags if flag not in ("-m", "--multirun"))
    launched = choices.get("hydra/launcher", BASIC) != BASIC
    try:
        with stopped_by_signals(control, launched):
            failure = finish(control, line, launched, lambda: start(Point(str(control), flags, train)))
            failed = failed_points(control)
    finally:
        shutil.rmtree(str(control), ignore_errors=True)
    if failure.code or not failed or choices.get("hydra/sweeper") == "optuna":  # a search goes on without them
        return failure
    return Failure(f"{len(failed)} points of the sweep failed: {'; '.join(failed)}", 2)


def finish(control: Path, line: CommandLine, launched: bool, start: Callable[[], Any]) -> Failure:
    """Run a sweep and say how it ended."""
    try:
        start()
    except PointStopped:
        return Failure(STOPPED_LINE, STOPPED)
    except PointFailed:
        pass
    except (HydraException, OmegaConfBaseException) as error:
        return Failure(explain(error, line.overrides), 2)
    except SearchError as error:
        return Failure(str(error), 2)
    except (Exception, KeyboardInterrupt) as error:
        if (control / STOP).exists():  # a launcher's process may have ended before it could say so
            return Failure(STOPPED_LINE, STOPPED)
        if not launched or os.environ.get("HARL_FULL_ERROR"):
            raise
        lines = [text.strip() for text in str(error).split("\n") if text.strip()]
        return Failure(f"the launcher failed ({type(error).__name__}: {lines[0] if lines else ''})", 1)
    return Failure("", 0)


def register_sweeper() -> None:
    """Make hydra know our sweeper.

    A package hydra_plugins, where hydra looks for them, would be found by every other program with hydra as well.
    """
    Plugins.instance().class_name_to_class["hydra_plugins.harl_isaac.OptunaSweeper"] = OptunaSweeper


def control_folder(run_root: str) -> Path:
    """Make the sweep's own folder, where its machines see it: it says that points are to stop, and which failed."""
    parent = Path(run_root) / "sweeps"
    parent.mkdir(parents=True, exist_ok=True)
    return Path(tempfile.mkdtemp(prefix=".control-", dir=str(parent.resolve())))


@contextmanager
def stopped_by_signals(control: Path, launched: bool) -> Iterator[None]:
    """Turn the first signal into the file STOP where a launcher's processes run the points; a second one ends this."""
    if not launched:
        yield
        return
    os.environ["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)  # for those processes

    def stop(number: int, frame: Any) -> None:
        if (control / STOP).exists():
            os._exit(130)
        (control / STOP).touch()
        say("stopping all points, each with a checkpoint")

    before = {number: signal.signal(number, stop) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
