"""Commands that messages name: as they can be pasted where the message is read."""

import os
import shutil
import sys
from pathlib import Path


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
