"""Finds and makes a parallel environment by its name: a module, module:function, or a file.

Modules are looked for where Python looks and then, but for those of known packages, in the current folder; a file is
one whose name has a slash or ends with .py, such as ./mine.py or mine.py:make.
"""

import functools
import inspect
import os
import pkgutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any, Callable, Dict, Tuple

from harl_isaac.env import MissingSimulator
from harl_isaac.importing import add_path, import_file, is_file

# packages with environments of which this project knows how they are installed -> pip's requirement
REQUIREMENTS = {"mpe2": "'mpe2>=1.1,<2'", "gymnasium_robotics": "gymnasium-robotics", "pettingzoo": "pettingzoo"}
PICTURES = "rgb_array"  # the render_mode in which `render()` returns an array [H, W, 3]
# how pygame and MuJoCo draw where there is no screen
WITHOUT_SCREEN = {"SDL_VIDEODRIVER": "dummy", "MUJOCO_GL": "egl"}
KNOWN_PACKAGES = tuple(REQUIREMENTS)  # whose environments a run folder may name


def is_known(path: str) -> bool:
    """Whether a name is that of a module of a known package, in which `parallel_env` is called."""
    return ":" not in path and not is_file(path) and package_of(path) in KNOWN_PACKAGES


def package_of(module: str) -> str:
    """The package that a module is in."""
    return module.split(".", maxsplit=1)[0]


def make_parallel_env(path: str, kwargs: Dict[str, Any], pictures: bool = False) -> Any:
    """Make the environment named by `path`, with render_mode=rgb_array for `pictures` where it takes that.

    Raises MissingSimulator, ValueError for a wrong path or wrong kwargs.
    """
    if pictures and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        for name, value in WITHOUT_SCREEN.items():
            os.environ.setdefault(name, value)  # read when their packages are imported
    module, function_name = split_path(path)
    function: Any = getattr(import_env_module(path, module), function_name, None)
    if not is_factory(function):
        found = (
            f"{module}.{function_name} makes no environments"
            if function is not None
            else f"{module} has no {function_name}"
        )
        raise ValueError(f"task.env={path}: {found}; give a module with a function parallel_env, or module:function")
    env = made_for_pictures(function, kwargs) if pictures else None
    try:
        env = function(**kwargs) if env is None else env
    except TypeError as error:
        raise ValueError(f"task.env={path} does not take task.kwargs={kwargs}: {error}") from error
    if not hasattr(env, "possible_agents"):
        raise ValueError(f"task.env={path} has no possible_agents: it is no parallel environment of PettingZoo")
    return env


def made_for_pictures(function: Callable[..., Any], kwargs: Dict[str, Any]) -> Any:
    """The environment that draws into arrays, or None where `function` takes no render_mode."""
    try:
        return function(**{**kwargs, "render_mode": PICTURES})
    except TypeError:
        return None


def split_path(path: str) -> Tuple[str, str]:
    """The module (or file) and the function that a path names; colons in folders belong to the file."""
    module, colon, function_name = path.rpartition(":")
    if not colon or os.sep in function_name:
        return path, "parallel_env"
    return module, function_name or "parallel_env"


def is_factory(function: Any) -> bool:
    """Whether `function` may make environments: a Python function, a partial of one, or a class of environments.

    Anything else that can be called, such as os.system, is not tried.
    """
    if isinstance(function, functools.partial):
        return is_factory(function.func)
    if inspect.isclass(function):
        return hasattr(function, "step") and hasattr(function, "reset")
    return inspect.isfunction(function)


def import_env_module(path: str, module: str) -> Any:
    """Import `module`: a file, a module, or an attribute of a package.

    Raises MissingSimulator where a known package is not installed, ValueError where there is no such module.
    """
    if is_file(module):
        return import_game_file(path, module)
    if package_of(module) not in KNOWN_PACKAGES:  # a folder's settings may name these, so they are not found there
        look_in_current_folder()
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        parent, _, leaf = module.rpartition(".")
        if error.name == module and parent:  # the package is here, or the next attempt says what is not
            return package_attribute(path, parent, leaf)
        raise missing_module(path, module, str(error.name)) from None
    except ImportError as error:
        raise MissingSimulator(f"task.env={path} cannot be imported: {error}") from None


def look_in_current_folder() -> None:
    """Let modules be found in the current folder too, after all others."""
    if "" not in sys.path:
        add_path(os.getcwd())


def import_game_file(path: str, name: str) -> Any:
    """Import a file; it finds modules beside it and in the current folder. Raises ValueError."""
    file = Path(name).expanduser().absolute()
    if not file.is_file() or file.suffix != ".py":
        found = f"{file} is no Python file" if file.is_file() else f"there is no file {file}"
        raise ValueError(f"task.env={path}: {found}; give one such as ./mine.py or ./mine.py:make")
    look_in_current_folder()
    try:
        return import_file(file.resolve(), own_name=False)
    except ModuleNotFoundError as error:
        raise missing_module(path, file.stem, str(error.name)) from None


def package_attribute(path: str, parent: str, leaf: str) -> Any:
    """Return attribute `leaf` of the package `parent`. Raises ValueError that lists the package's modules."""
    package = import_env_module(path, parent)
    if hasattr(package, leaf):
        return getattr(package, leaf)
    names = [
        info.name for info in pkgutil.iter_modules(getattr(package, "__path__", [])) if not info.name.startswith("_")
    ]
    raise ValueError(f"task.env={path}: {parent} has no {leaf}; possible: {', '.join(names) or 'nothing'}") from None


def missing_module(path: str, module: str, missing: str) -> ValueError:
    """Error for a module that is not found: how a known package is installed, and for others where was looked."""
    family = module.split(".")
    requirement = REQUIREMENTS.get(package_of(missing))
    if family[0] == "pettingzoo" and missing != "pettingzoo" and len(family) > 1:
        requirement = f"'pettingzoo[{family[1]}]'"  # families of pettingzoo are extras of it
    if requirement is not None:
        return MissingSimulator(f"task.env={path} needs {missing}, which is not installed: pip install {requirement}")
    if package_of(missing) != family[0]:
        return MissingSimulator(f"task.env={path} imports {missing}, which is not installed")
    return ValueError(
        f"task.env={path}: there is no module {missing}, neither installed nor in {os.getcwd()}; give an installed "
        "module, one beside you, or a file such as ./mine.py:make"
    )
