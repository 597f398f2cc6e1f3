"""Tasks and algorithms of one's own on a command line: modules=[...], task=module:Class, task=./file.py:Class."""

import re
from typing import List, Optional, Tuple

from harl_isaac.plugins import (
    GROUPS,
    broken_plugins,
    canonical,
    check_plugin,
    load_class,
    load_entry_points,
    load_module,
)
from harl_isaac.tasks import FAMILIES

QUOTES = "'\""


def with_loaded_modules(words: List[str]) -> List[str]:
    """Load what the words name; they then name tasks and algorithms by their names, and all modules as modules=[...].

    Raises ValueError in one line for what cannot be loaded.
    """
    load_entry_points()
    modules: List[str] = []
    rest = []
    for word in words:
        key, _, value = word.partition("=")
        if key == "modules":
            modules += module_list(value)
        elif key in GROUPS and ":" in value:
            named = [_named(key, choice, modules) for choice in value.split(",")]
            rest.append(f"{key}={','.join(named)}")
        else:
            rest.append(word)
    for where in modules:
        load_module(where)
    return rest + [modules_word(modules)] * bool(modules)


def check_plugins(words: List[str]) -> List[str]:
    """Lines about installed plug-ins that cannot be used. Raises ValueError where the words ask for one of them."""
    lines = broken_plugins()
    for word in words:
        key, _, value = word.partition("=")
        for name in value.split(",") if key in GROUPS else ():
            check_plugin(key, name)
    return lines


def load_modules(text: Optional[str]) -> None:
    """Load installed plug-ins' names and the modules of modules=[a,b]. Raises ValueError."""
    load_entry_points()
    for where in module_list(text or ""):
        load_module(where)


def module_list(text: str) -> List[str]:
    """The modules of modules=[a,b], with brackets and quotes or without."""
    parts = [part.strip().strip(QUOTES) for part in text.strip().strip("[]").split(",")]
    return [part for part in parts if part and part != "null"]


def literal_path(path: str) -> str:
    """A path as it stands in a configuration: without interpolations."""
    return path.replace("${", "\\${")


def modules_word(modules: List[str]) -> str:
    """Return modules=[...] as hydra reads it and a run folder keeps it: files with their absolute paths."""
    places = list(dict.fromkeys(map(canonical, modules)))
    return "modules=[" + ",".join(quoted(literal_path(place)) for place in places) + "]"


def quoted(text: str) -> str:
    """A string as hydra's grammar reads it: in quotes, with backslashes before a quote (and the last ones) doubled."""
    escaped = re.sub(r"(\\*)('|$)", lambda found: 2 * found[1] + ("\\'" if found[2] else ""), text)
    return f"'{escaped}'"


def _named(group: str, choice: str, modules: List[str]) -> str:
    """The name of a task or algorithm given as module:Class, whose module is added to `modules`, or as it is."""
    where, name = split_class(choice)
    if not name or where.split("/")[0] in FAMILIES:
        return choice
    found = load_class(group, where, name)
    modules.append(where)
    return found


def split_class(choice: str) -> Tuple[str, str]:
    """Module or file, and class, of module:Class; the class is '' where it is no such pair."""
    where, _, name = choice.strip(QUOTES).rpartition(":")
    return where, name if where and name.isidentifier() else ""
