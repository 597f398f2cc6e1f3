"""Files of one's own as modules, for plug-ins and for games; worker processes import this, so it needs nothing."""

import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType


class UnusableFile(ValueError):
    """A file that is no module; the message is for the user."""


def is_file(where: str) -> bool:
    """Whether a named module is given as a file's path."""
    return "/" in where or where.endswith(".py")


def add_path(folder: str) -> None:
    """Put a folder at the end of the module path."""
    if folder not in sys.path:
        sys.path.append(folder)


def import_file(path: Path, own_name: bool = True) -> ModuleType:
    """Import a file, once, with its folder on the path.

    own_name: under its own name alone, so that other processes find it. Else one whose name another module has, or that
    is none, gets another. Raises UnusableFile.
    """
    if not path.is_file() or path.suffix != ".py":
        raise UnusableFile(f"there is no Python file at {path}")
    main = sys.modules["__main__"]
    if getattr(main, "__file__", None) and Path(str(main.__file__)).resolve() == path:
        return main
    name = path.stem
    taken = other_module(name, path) if name.isidentifier() else "no name of a module"
    if own_name and not name.isidentifier():
        raise UnusableFile(f"{path} has no name of a module; rename it with letters, digits and _")
    if own_name and taken:
        raise UnusableFile(f"{path} has the name of another module ({taken}); rename it")
    if taken:
        name = f"file_{path}"
    if name in sys.modules:
        return sys.modules[name]
    add_path(str(path.parent))
    return _executed(name, path)


def _executed(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # it is a Python file
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        sys.modules.pop(name, None)
        raise
    return module


def other_module(name: str, path: Path) -> str:
    """The place of a module that `import name` finds instead of the file, or ''."""
    loaded = sys.modules.get(name)
    spec = getattr(loaded, "__spec__", None) if loaded else importlib.util.find_spec(name)
    origin = getattr(spec, "origin", None)
    if origin is None:  # nothing, or folders without code
        return ""
    return "" if os.path.exists(origin) and Path(origin).resolve() == path else str(origin)
