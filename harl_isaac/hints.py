"""Commands, extras and files that messages name: as they can be pasted, or found, where the message is read."""

import os
import shutil
import sys
from pathlib import Path
from typing import Optional

# Module that may be missing -> the extra that brings it.
EXTRAS = {
    "matplotlib": "plot",
    "scipy": "plot",
    "jinja2": "plot",
    "wandb": "wandb",
    "onnx": "export",
    "onnxruntime": "export",
    "onnxscript": "export",
    "optuna": "sweeps",
    "joblib": "sweeps",
    "submitit": "sweeps",
    "rl_games": "rl-games",
    "mpe2": "pettingzoo",
    "pettingzoo": "pettingzoo",
    "jaxmarl": "smax",
    "warp": "warp",
    "mujoco_warp": "warp",
}


def invocation(name: str) -> str:
    """The words that start another command from where this one was started: for hints that can be pasted."""
    program = Path(sys.argv[0])
    script = os.environ.get("HARL_SCRIPTS")  # set by scripts/train.sh, which finds the interpreter itself
    if script and name == "train":
        return f"{script}/train.sh"
    if program.name.startswith("harl-"):
        beside = program.with_name(f"harl-{name}")
        found = shutil.which(beside.name)
        return beside.name if found and Path(found).resolve() == beside.resolve() else _shown(beside)
    if program.name == "train.py" and name == "train":
        return f"{_python()} {_shown(program)}"
    return f"{_python()} -m harl_isaac {name}"


def _python() -> str:
    """The interpreter: `python` where the shell finds this one by that name, else its path."""
    found = shutil.which("python")
    here = Path(sys.executable)
    return "python" if found and Path(found).absolute() == here.absolute() else _shown(here)


def _shown(path: Path) -> str:
    """A path from the current folder where it lies below it, else the whole."""
    whole = path.absolute()
    current = Path.cwd()
    return str(whole.relative_to(current)) if current in whole.parents else str(whole)


def install(extra: str) -> str:
    """The command that installs what an extra of this package brings."""
    return f"pip install 'harl-isaac[{extra}]'"


def missing_extra(module: Optional[str], cause: Optional[Exception] = None) -> Optional[str]:
    """A line about a module that an extra of this package brings; None for other modules."""
    top = (module or "").split(".")[0]
    if top not in EXTRAS:
        return None
    why = f" ({cause})" if cause else ""
    return f"{top} is not installed here{why}: {install(EXTRAS[top])}"


def source_file(path: str) -> str:
    """A file beside the package's source; where that is installed without it, it is said to be in the repository."""
    file = Path(__file__).resolve().parent.parent / path
    return _shown(file) if file.exists() else f"{path} in the source repository"
