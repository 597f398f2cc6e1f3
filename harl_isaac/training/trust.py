"""The trust boundary of run folders: opening one runs registered code alone, unless its user consents.

A run folder or a checkpoint may come from a stranger. Its files are read as data: checkpoints with weights_only, YAML
with the safe loader, overrides as plain key=value words of known keys. Settings that name code of other packages are
followed only with trust=true, or where the command line names the same code again. Plug-ins that are installed run as
every installed package does.
"""

import re
from dataclasses import fields
from pathlib import Path
from typing import Any, Dict, List

from harl_isaac.config import RunCfg
from harl_isaac.plugins import GROUPS, load_entry_points, load_module
from harl_isaac.settings import TaskCfg

KEYS = frozenset(field.name for field in fields(RunCfg)) | {"experiment", "preset"}
UNTRUSTED_KEYS = ("trust", "resume")  # a folder does not speak for its user
OVERRIDE = re.compile(r"(?:\+\+)?(?P<key>[A-Za-z_]\w*)(?P<rest>(?:\.\w+)*)=(?P<value>[^\0]*)", re.S)


def check_overrides(words: Any, file: Path) -> List[str]:
    """The words of a run's overrides.yaml, if each is a plain key=value of a known key. Raises ValueError."""
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise ValueError(f"{file} is damaged: expected a list of key=value words, found {_shortened(words)}")
    for word in words:
        match = OVERRIDE.fullmatch(word)
        if not match or match["key"] not in KEYS or match["key"] in UNTRUSTED_KEYS or "${" in word:
            raise ValueError(
                f"{file} has {_shortened(word)}, which is no plain key=value of a setting; remove the line to trust "
                "the rest of the folder"
            )
    return words


def check_trusted(task: TaskCfg, folder: Path, trust: bool, given: List[str]) -> None:
    """Raise ValueError where a run's task runs foreign code that its user has not consented to.

    `given` are the words of this command line: naming the code again is consent.
    """
    code = task.foreign_code()
    if code and not trust and code not in given:
        raise ValueError(
            f"{folder} runs code of another package: {code}; if you trust it, add trust=true or name it again"
        )


def check_state_trusted(task: TaskCfg, folder: Path, trust: bool) -> None:
    """Raise ValueError where continuing a run would read a simulator's pickle without its user's consent."""
    simulator = task.pickled_state()
    if simulator and not trust:
        raise ValueError(
            f"{folder} holds states of {simulator}, which are pickles and can run any code; if it is yours, add "
            "trust=true"
        )


def open_modules(config: Dict[str, Any], folder: Path, trust: bool) -> None:
    """Load the modules of one's own that a run's settings name, unless what they bring is there already.

    It is where the command line named them. Raises ValueError where they are to be loaded without consent.
    """
    load_entry_points()
    modules = config.get("modules") or []
    if not isinstance(modules, list) or not all(isinstance(where, str) for where in modules):
        raise ValueError(f"{folder / 'config.yaml'} is damaged: modules: {_shortened(modules)} is no list of names")
    known = all(config[group]["name"] in GROUPS[group].registry for group in GROUPS if group in config)
    if not modules or known:
        return
    if not trust:
        named = f"modules=[{','.join(modules)}]"
        raise ValueError(
            f"{folder} runs code of your own or others: {named}; if you trust it, add trust=true or {named}"
        )
    for where in modules:
        load_module(where)


def needs_trust(run: RunCfg) -> bool:
    """Whether a run is resumed with trust=true."""
    return bool(run.modules or run.task.foreign_code() or run.task.pickled_state())


def _shortened(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
