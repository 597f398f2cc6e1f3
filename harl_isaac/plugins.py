"""Tasks and algorithms from outside: entry points of installed packages, and modules or files that are named.

An entry point of the group `harl_isaac.tasks` or `harl_isaac.algos` is a name and the class of its settings, such as
`Reach = my_package.reach:ReachCfg`; it is imported when it is needed. A named module is imported at once, and every
class of settings in it becomes a task or an algorithm.
"""

import importlib.metadata
import inspect
import os
import re
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, Dict, Iterable, List, Set

from omegaconf import OmegaConf

from harl_isaac.algos import ALGOS
from harl_isaac.importing import UnusableFile, add_path, import_file, is_file
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.registry import default_settings
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks import TASKS

NAME = re.compile(r"[A-Za-z_][\w-]*(/[\w-]+)*")
FAILURES = (Exception, SystemExit)  # of somebody else's code while it is imported


@dataclass(frozen=True)
class Group:
    """A registry that plug-ins add to, and the class that settings of it derive from."""

    kind: str
    registry: Dict[str, str]
    base: type


GROUPS = {"task": Group("task", TASKS, TaskCfg), "algo": Group("algorithm", ALGOS, AlgoCfg)}
DISTRIBUTIONS: Dict[str, str] = {}  # "task Reach" -> the package whose entry point it is, with its version
BROKEN: Dict[str, str] = {}  # "task Reach" -> why this plug-in cannot be used, in one line
LOADED: Dict[str, Set[str]] = {}  # named module or file -> "task Reach" of all that it brought
SEEN: List[str] = []  # groups whose entry points have been read


def load_entry_points() -> None:
    """Add the entry points of installed packages to the registries, once; nothing of them is imported."""
    for group in GROUPS:
        if group not in SEEN:
            SEEN.append(group)
            for point in entry_points(f"harl_isaac.{group}s"):
                _add_entry_point(group, point)


def entry_points(name: str) -> Iterable[Any]:
    """The entry points of a group; Python 3.8 and 3.9 return a dict."""
    found: Any = importlib.metadata.entry_points()
    return found.select(group=name) if hasattr(found, "select") else dict.fromkeys(found.get(name, ()))


def _add_entry_point(group: str, point: Any) -> None:
    key = f"{group} {point.name}"
    registry = GROUPS[group].registry
    dist = getattr(point, "dist", None)  # from Python 3.10 on
    package = f"{dist.metadata['Name']} {dist.version}" if dist else point.value.split(":")[0].split(".")[0]
    path = point.value.split("[")[0].replace(" ", "")
    if registry.get(point.name) == path:
        return
    if point.name in registry:
        owner = DISTRIBUTIONS.get(key, "harl_isaac")
        BROKEN[f"{key} of {package}"] = f"{key} of {package} is left out: {owner} has {group} {point.name} already"
    elif not NAME.fullmatch(point.name) or not re.fullmatch(r"[\w.]+:\w+", path):
        BROKEN[key] = f"{key} of {package} is left out: {point.name} = {point.value} is no name = module:Class"
    else:
        registry[point.name] = path
        DISTRIBUTIONS[key] = package


def check_plugin(group: str, name: str) -> None:
    """Raise ValueError, in one line, where the task or algorithm is a plug-in's and cannot be used.

    It then leaves its registry.
    """
    key = f"{group} {name}"
    if key in DISTRIBUTIONS and key not in BROKEN:
        try:
            check_settings(group, GROUPS[group].registry[name])
        except FAILURES as error:
            del GROUPS[group].registry[name]
            BROKEN[key] = f"{key} of {DISTRIBUTIONS[key]} cannot be used ({describe(error)})"
    if key in BROKEN and name not in GROUPS[group].registry:
        raise ValueError(BROKEN[key])


def broken_plugins() -> List[str]:
    """Lines about all plug-ins that cannot be used; they are imported here."""
    for key in list(DISTRIBUTIONS):
        try:
            check_plugin(*key.split(" ", 1))
        except ValueError:
            continue
    return list(BROKEN.values())


def describe(error: BaseException) -> str:
    """An error of somebody else's code in one line."""
    lines = str(error).strip().split("\n")
    return f"{type(error).__name__}: {lines[0]}" if lines[0] else type(error).__name__


def check_settings(group: str, path: str) -> None:
    """Import a class of settings and make an instance. Raises ValueError for one that is not of the group."""
    module, name = path.split(":")
    base = GROUPS[group].base
    cls = getattr(import_module(module), name, None)
    if not (isinstance(cls, type) and issubclass(cls, base)):
        raise ValueError(f"{path} is no class derived from {base.__name__}")
    if vars(cls).get("__annotations__") and "__dataclass_fields__" not in vars(cls):
        raise ValueError(f"{path} has fields and no @dataclass above it")
    OmegaConf.structured(default_settings({"_": path}, "_"))


def canonical(where: str) -> str:
    """The name by which a module is kept: its own, or the absolute path of its file."""
    return str(Path(where).expanduser().resolve()) if is_file(where) else where


def load_module(where: str) -> Set[str]:
    """Import a module, or a file, and add its tasks and algorithms; returns them as "task Reach".

    Raises ValueError, in one line, where that fails or brings nothing.
    """
    key = canonical(where)
    if key not in LOADED:
        before = {group: set(GROUPS[group].registry) for group in GROUPS}
        module = import_named(where)
        for cls in own_settings(module):
            register_class(cls, f"{module.__name__}:{cls.__name__}")
        found = {f"{g} {name}" for g, names in before.items() for name in set(GROUPS[g].registry) - names}
        LOADED[key] = found | {registered(cls) for cls in own_settings(module)}
    if not LOADED[key]:
        raise ValueError(
            f"module {where} brings neither a task nor an algorithm: no dataclass in it derives from TaskCfg or AlgoCfg"
        )
    return LOADED[key]


def load_class(group: str, where: str, name: str) -> str:
    """The name of the task or algorithm whose settings are the class `name` of a module or file. Raises ValueError."""
    module = import_named(where)
    cls = getattr(module, name, None)
    if not isinstance(cls, type) or not issubclass(cls, GROUPS[group].base):
        have = ", ".join(each.__name__ for each in own_settings(module) if issubclass(each, GROUPS[group].base))
        raise ValueError(
            f"{group}={where}:{name}: the module has no such {GROUPS[group].kind}; it has: {have or 'none'}"
        )
    if cls.__module__.split(".")[0] == "harl_isaac":
        raise ValueError(f"{group}={where}:{name} is harl_isaac's own; give {group}={vars(cls).get('name') or name}")
    key = register_class(cls, f"{module.__name__}:{name}")
    LOADED.setdefault(canonical(where), set()).add(key)
    return key.split(" ", 1)[1]


def own_settings(module: ModuleType) -> List[type]:
    """Public classes of settings that a module, or a package with what it imports of itself, defines."""
    found = []
    for name, value in vars(module).items():
        is_class = inspect.isclass(value) and issubclass(value, (TaskCfg, AlgoCfg)) and not inspect.isabstract(value)
        if is_class and name == value.__name__ and not name.startswith("_"):
            home = value.__module__
            if home == module.__name__ or home.startswith(module.__name__ + "."):
                found.append(value)
    return found


def registered(cls: type) -> str:
    """The key "task Reach" of a class of settings: its own default `name`, else its name without Cfg."""
    group = "task" if issubclass(cls, TaskCfg) else "algo"
    name = vars(cls).get("name") or re.sub(r"(Cfg|Config|Settings)$", "", cls.__name__)
    return f"{group} {name}"


def register_class(cls: type, path: str) -> str:
    """Add a class of settings to its registry; returns its key "task Reach". Raises ValueError."""
    key = registered(cls)
    group, name = key.split(" ", 1)
    registry = GROUPS[group].registry
    if not NAME.fullmatch(name):
        raise ValueError(f"{path} is named {name!r}; a name has letters, digits, _ and -")
    if registry.get(name, path) != path:
        raise ValueError(f'{path} is named {name}, and so is {registry[name]}; give it another name: name: str = "..."')
    try:
        check_settings(group, path)
    except FAILURES as error:
        raise ValueError(f"{path} cannot be used ({describe(error)})") from error
    registry[name] = path
    return key


def import_named(where: str) -> ModuleType:
    """Import a module that is on the path or in the working folder, or a file. Raises ValueError in one line."""
    try:
        if is_file(where):
            return import_file(Path(canonical(where)))
        add_path(os.getcwd())
        return import_module(where)
    except ModuleNotFoundError as error:
        if error.name and (where + ".").startswith(error.name + "."):
            raise ValueError(
                f"there is no module {where} on the path or in {os.getcwd()}; a file is given as ./{where}.py"
            ) from None
        raise ValueError(f"module {where} cannot be imported ({describe(error)})") from error
    except UnusableFile as error:
        raise ValueError(str(error)) from None
    except FAILURES as error:
        raise ValueError(f"module {where} cannot be imported ({describe(error)})") from error
