"""Run folders: the settings and versions that a run was started with, beside its records and checkpoints."""

import json
import platform
import sys
import time
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Tuple

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harl_isaac import __version__
from harl_isaac.algos import ALGOS
from harl_isaac.config import RunCfg, chosen_preset
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.plugins import DISTRIBUTIONS, check_plugin
from harl_isaac.registry import build_settings, register_external_tasks
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks import TASKS
from harl_isaac.training import checkpoint
from harl_isaac.training.ownership import LOCK, OWNER, owned
from harl_isaac.training.trust import check_overrides, open_modules

PACKAGES = ("torch", "numpy", "mujoco", "mujoco-warp", "warp-lang", "gymnasium-robotics", "hydra-core")


@contextmanager
def new_run(cfg: DictConfig, run: RunCfg, words: Optional[List[str]] = None) -> Iterator[Path]:
    """A new run folder, held as long as the context lasts, with the composed configuration, overrides and versions.

    The overrides are `words`, or those that hydra was started with. Raises ValueError where another process trains a
    run of this name, or where one has been trained.
    """
    if run.run_name is None:
        base = Path(run.run_root) / run.task.name / run.algo.name
        folder = _make_folder(base, f"{time.strftime('%Y%m%d-%H%M%S')}-seed{run.seed}")
    else:
        folder = named_folder(run)
        folder.mkdir(parents=True, exist_ok=True)
    with owned(folder):
        if run.run_name is not None:
            _set_aside(folder)
        _record(folder, cfg, run, words)
        yield folder


def _set_aside(folder: Path) -> None:
    """Move what a run left that ended before its first checkpoint. Raises ValueError where there is a checkpoint."""
    if (folder / checkpoint.FOLDER / "latest.pt").is_file():
        raise ValueError(f"{folder} is there already: go on with resume=auto, or choose another run_name")
    left = [path for path in folder.iterdir() if path.name not in (LOCK, OWNER)]
    if left:
        aside = _make_folder(folder.parent, f"{folder.name}-unfinished")
        for path in left:
            path.rename(aside / path.name)


def _hydra_words() -> List[str]:
    """The overrides that hydra was started with, and the preset that was chosen by the task and the algorithm."""
    config = HydraConfig.get()
    return with_preset(list(config.overrides.task), chosen_preset(config.runtime.choices))


def with_preset(words: List[str], chosen: str) -> List[str]:
    """The overrides with the name of the preset that they led to, so that a resumed run has the same."""
    return words if any(word.startswith("preset=") for word in words) else [*words, f"preset={chosen}"]


def _record(folder: Path, cfg: DictConfig, run: RunCfg, words: Optional[List[str]]) -> None:
    """Write the configuration, the overrides and the versions of a new run."""
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    given = _hydra_words() if words is None else words
    overrides = [word for word in given if not word.startswith("trust=")]
    (folder / "overrides.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")
    record = versions()
    keys = (f"task {run.task.name}", f"algo {run.algo.name}")
    plugins = {key: DISTRIBUTIONS[key] for key in keys if key in DISTRIBUTIONS}
    if plugins:
        record["plugins"] = plugins
    (folder / "versions.json").write_text(json.dumps(record, indent=2) + "\n")


def named_folder(run: RunCfg) -> Path:
    """The folder that `run_name` stands for. Raises ValueError without a name, or for one that is a path."""
    name = run.run_name
    if not name:
        raise ValueError("resume=auto needs a name for the run, such as run_name=first; the same command then goes on")
    if name in (".", "..") or Path(name).name != name:
        raise ValueError(f"run_name={name} must be a name without folders; run_root=... says where it lies")
    return Path(run.run_root) / run.task.name / run.algo.name / name


def _make_folder(base: Path, name: str) -> Path:
    """Make the folder `name` in `base`, or `name`-2, -3, ... after other runs of this second."""
    number = 1
    while True:
        folder = base / (name if number == 1 else f"{name}-{number}")
        try:
            folder.mkdir(parents=True)
            return folder
        except FileExistsError:
            number += 1


def versions() -> Dict[str, Any]:
    """Python, machine and package versions; None for a package that is not installed."""
    packages: Dict[str, Optional[str]] = {"harl-isaac": __version__}
    for package in PACKAGES:
        try:
            packages[package] = version(package)
        except PackageNotFoundError:
            packages[package] = None
    return {"python": sys.version.split()[0], "platform": platform.platform(), "packages": packages}


def plugin_package(folder: Path, key: str) -> str:
    """The package whose plug-in the run's task or algorithm ("task Reach") is, as the folder says; '' for none."""
    try:
        return str(json.loads((folder / "versions.json").read_text())["plugins"][key])
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def read_overrides(folder: Path) -> List[str]:
    """The overrides that the run was started with. Raises ValueError where the file is missing or damaged."""
    file = folder / "overrides.yaml"
    return check_overrides(_read(file), file)


def saved_config(folder: Path) -> Dict[str, Any]:
    """The run's composed configuration. Raises ValueError where the file is missing or damaged."""
    file = folder / "config.yaml"
    config = _read(file)
    check_names(config, file)
    return config


def check_names(config: Any, file: Path) -> None:
    """Raise ValueError unless a file's configuration names a task and an algorithm."""
    if not isinstance(config, dict):
        raise ValueError(f"{file} is damaged: expected a run's settings, found {type(config).__name__}")
    for group in ("task", "algo"):
        settings = config.get(group)
        name = settings.get("name") if isinstance(settings, dict) else None
        if not isinstance(name, str):
            raise ValueError(f"{file} is damaged: it has no {group}.name")


def saved_settings(folder: Path, trust: bool = False) -> Tuple[TaskCfg, AlgoCfg]:
    """Settings of the run's task and algorithm; with `trust`, modules that it names are imported for them.

    Raises ValueError where the configuration is damaged or unknown.
    """
    return settings_in(saved_config(folder), folder / "config.yaml", trust)


def settings_in(config: Dict[str, Any], source: Path, trust: bool = False) -> Tuple[TaskCfg, AlgoCfg]:
    """Settings of the task and the algorithm that a run's configuration from the file `source` holds, as above."""
    register_external_tasks([config["task"]["name"]])
    open_modules(config, source.parent, trust)
    task = _settings(source, "task", TASKS, config["task"])
    return task, _settings(source, "algo", ALGOS, config["algo"])


def saved_algo(saved: Dict[str, Any], file: Path, trust: bool = False) -> AlgoCfg:
    """Settings of a checkpoint's algorithm, from the checkpoint or else from its run folder; the task is not touched.

    Raises ValueError where they are damaged or unknown.
    """
    settings = saved.get("settings")
    source = file
    if settings is None:  # of a version that kept them in the folder alone
        settings = saved_config(checkpoint.run_folder(file))
        source = checkpoint.run_folder(file) / "config.yaml"
    if not isinstance(settings, dict) or not isinstance(settings.get("algo"), dict) or "name" not in settings["algo"]:
        raise ValueError(f"checkpoint {file} has damaged settings: no algo.name")
    open_modules({"algo": settings["algo"], "modules": settings.get("modules")}, source.parent, trust)
    return _settings(source, "algo", ALGOS, settings["algo"])


def _settings(source: Path, group: str, registry: Dict[str, str], values: Dict[str, Any]) -> Any:
    """Settings of a group from the values in the file `source`."""
    name = values["name"]
    check_plugin(group, name)
    if name not in registry:
        package = plugin_package(checkpoint.run_folder(source), f"{group} {name}")
        where = f"here: install {package}" if package else "to this version"
        raise ValueError(f"{source} has {group} {name!r}, which is unknown {where}")
    try:
        return build_settings(registry, values)
    except (OmegaConfBaseException, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{source} is damaged: {group}: {reason}") from None


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not readable ({type(error).__name__}): not a run folder, or damaged") from None
