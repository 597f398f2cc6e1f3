"""The library from Python: `train`, `load_policy`, `make`, `evaluate`. See docs/python.md.

`import harl_isaac` shows them without importing torch; they are imported when they are first used.
"""

import os
import sys
import warnings
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Sequence, Tuple, Union

from hydra import compose, initialize_config_module
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from harl_isaac.cli import train as command
from harl_isaac.cli.modules import check_plugins, literal_path, modules_word, quoted, with_loaded_modules
from harl_isaac.cli.overrides import CONFIG, check_command_line, explain, with_free_keys
from harl_isaac.config import register
from harl_isaac.devices import choose_device
from harl_isaac.env import EnvSpec, MultiAgentEnv
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.plugins import LOADED, canonical, load_entry_points, load_module, register_class
from harl_isaac.registry import build_settings, register_external_tasks
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks import TASKS
from harl_isaac.training import checkpoint
from harl_isaac.training import load_policy as loading
from harl_isaac.training.evaluation import Evaluation, evaluate_policy
from harl_isaac.training.policy import Policy, read_policy
from harl_isaac.training.run_folder import with_preset

__all__ = ["Policy", "TrainedRun", "evaluate", "load_policy", "make", "train"]

Choice = Union[str, type, TaskCfg, AlgoCfg]  # a name, module:Class, or settings: the class or an instance
PathLike = Union[str, "os.PathLike[str]"]


class TrainedRun(NamedTuple):
    """A run that `train` has made or gone on with."""

    folder: Path
    best: float  # return of its best evaluation, -inf without one
    steps: int  # environment steps so far
    numbers: Dict[str, float]  # of its last iteration, {} where nothing was left to do


def train(
    task: Optional[Choice] = None,
    algo: Choice = "happo",
    settings: Optional[Mapping[str, Any]] = None,
    resume: Optional[PathLike] = None,
    modules: Sequence[str] = (),
    **keys: Any,
) -> TrainedRun:
    """Train a new run of a task, or go on with the one in `resume`; what the command line does, with Python's values.

    `settings` has keys such as "algo.clip" and "task.object", `keys` those without a dot: num_envs, total_steps, seed,
    device, run_root, trust. Ctrl-C stops after the running iteration, with a checkpoint. Raises ValueError in one line
    for what cannot run.
    """
    given = {**(settings or {}), **keys}
    paths = {key: os.fspath(given.pop(key)) for key in ("run_root", "init_from") if given.get(key) is not None}
    words = [setting_word(key, value) for key, value in given.items()]
    if resume is None:
        words = choice_words("algo", algo) + words
    if task is not None:
        words = choice_words("task", task) + words
    words = with_loaded_modules(words + [modules_word(list(modules))] * bool(modules))
    if resume is not None:
        return _resumed(os.fspath(resume), words)
    cfg, preset = _composed(words)
    for key, path in paths.items():
        cfg[key] = literal_path(path)
    trainer = command.begin(cfg, with_preset(words, preset))
    return TrainedRun(trainer.folder, trainer.best, trainer.steps, trainer.numbers)


def _resumed(run: str, given: List[str]) -> TrainedRun:
    """Go on with the run, under the settings that it has and those given."""
    file = checkpoint.find(run)
    words = command.with_saved_overrides(given, run)
    cfg, _ = _composed(words)
    cfg["resume"] = literal_path(run)
    trainer = command.resume(cfg, file, words, given)
    return TrainedRun(checkpoint.run_folder(file), trainer.best, trainer.steps, trainer.numbers)


def _composed(words: List[str]) -> Tuple[DictConfig, str]:
    """The configuration of a command line, and the preset that it led to. Raises ValueError in one line."""
    words = with_free_keys(words)
    register_external_tasks(command.requested_tasks(words))
    for line in check_plugins(words):
        warnings.warn(line, stacklevel=3)
    register()
    choices = check_command_line(words)
    with initialize_config_module(CONFIG, version_base="1.3"):
        return compose("config", words), choices["preset"]


def load_policy(
    run: PathLike,
    device: str = "cpu",
    trust: bool = False,
    modules: Sequence[str] = (),
    spec: Optional[EnvSpec] = None,
) -> Policy:
    """The trained policy of a run folder (its best checkpoint, else its latest) or a checkpoint; see `Policy.act`.

    Neither the environment nor its simulator is needed. Checkpoints of older versions hold no spec: give spec=. Raises
    ValueError in one line.
    """
    _load(modules)
    return read_policy(os.fspath(run), device, trust, spec)


def make(
    task: Choice,
    num_envs: int = 1,
    device: str = "auto",
    sim: str = "auto",
    modules: Sequence[str] = (),
    **settings: Any,
) -> MultiAgentEnv:
    """Build environments of a task, with its settings, such as make("ShadowHandOver", 16, object="ball").

    Raises ValueError for impossible settings, MissingSimulator where a package is not installed.
    """
    _load(modules)
    words = with_loaded_modules(choice_words("task", task))
    name = words[0].split("=", 1)[1]
    register_external_tasks([name])
    if name not in TASKS:
        check_command_line(words)  # its message has the nearest name
    values = {**_changed(task), **settings, "name": name} if isinstance(task, TaskCfg) else {**settings, "name": name}
    try:
        cfg = build_settings(TASKS, values)
    except OmegaConfBaseException as error:
        raise ValueError(explain(error, words)) from None
    return cfg.make(num_envs, choose_device(device), sim)


def evaluate(
    run: PathLike,
    episodes: int = 320,
    num_envs: int = 64,
    seed: int = 0,
    device: str = "auto",
    sim: str = "auto",
    trust: bool = False,
    modules: Sequence[str] = (),
) -> Evaluation:
    """Play full episodes of a run with its deterministic policy; `.means()` and `.intervals()` sum them up.

    Raises ValueError in one line, MissingSimulator where the task's simulator is not installed.
    """
    _load(modules)
    env, actors, _ = loading.load_policy(os.fspath(run), min(num_envs, episodes), device, sim, trust)
    try:
        return evaluate_policy(env, actors, episodes, seed)
    finally:
        env.close()


def _load(modules: Sequence[str]) -> None:
    load_entry_points()
    for where in modules:
        load_module(where)


def choice_words(group: str, choice: Choice) -> List[str]:
    """Words of a command line for a task or an algorithm given by name or by settings. Raises ValueError."""
    if isinstance(choice, str):
        return [f"{group}={choice}"]
    cls = choice if isinstance(choice, type) else type(choice)
    key = register_class(cls, f"{cls.__module__}:{cls.__qualname__}")
    if key.split(" ", 1)[0] != group:
        raise ValueError(f"{group}={cls.__qualname__}: these are settings of {key}")
    words = [f"{group}={key.split(' ', 1)[1]}"]
    place = _place(cls)
    if place:
        LOADED.setdefault(place, set()).add(key)
        words.append(modules_word([place]))
    return words + [setting_word(f"{group}.{name}", value) for name, value in _changed(choice).items()]


def _place(cls: type) -> str:
    """The module or file from which a run's folder can have a class again; '' for harl_isaac's own and a notebook's."""
    if cls.__module__.split(".")[0] == "harl_isaac":
        return ""
    if cls.__module__ == "__main__":
        file = getattr(sys.modules["__main__"], "__file__", None)
        return canonical(str(Path(file).resolve())) if file else ""
    return cls.__module__


def _changed(settings: Any) -> Dict[str, Any]:
    """Fields of an instance of settings that differ from its class's defaults."""
    if isinstance(settings, type) or not is_dataclass(settings):
        return {}
    cls: Any = type(settings)
    default = cls()
    pairs: List[Tuple[str, Any, Any]] = [
        (each.name, getattr(settings, each.name), getattr(default, each.name)) for each in fields(settings)
    ]
    return {name: value for name, value, standard in pairs if value != standard and name != "name"}


def setting_word(key: str, value: Any) -> str:
    """key=value as hydra's grammar reads it."""
    return f"{key}={_literal(value)}"


def _literal(value: Any) -> str:
    """A Python value as hydra's grammar reads it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if is_dataclass(value) and not isinstance(value, type):
        return _literal(_changed(value))
    if isinstance(value, Mapping):
        return "{" + ",".join(f"{key}:{_literal(part)}" for key, part in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(map(_literal, value)) + "]"
    if isinstance(value, (int, float)):
        return repr(value)
    return quoted(str(value))
