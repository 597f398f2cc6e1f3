"""Run folders: the settings and versions that a run was started with, beside its records and checkpoints."""

import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harl_isaac import __version__
from harl_isaac.algos import ALGOS
from harl_isaac.config import RunCfg
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.registry import build_settings, register_external_tasks
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks import TASKS
from harl_isaac.training.trust import check_overrides

PACKAGES = ("torch", "numpy", "mujoco", "mujoco-warp", "warp-lang", "gymnasium-robotics", "hydra-core")


def new_run(cfg: DictConfig, run: RunCfg) -> Path:
    """Make a run folder that holds the composed configuration, the overrides given, and all versions."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-seed{run.seed}"
    folder = _make_folder(Path(run.run_root) / run.task.name / run.algo.name, name)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True), encoding="utf-8")
    overrides = [word for word in HydraConfig.get().overrides.task if not word.startswith("trust=")]
    (folder / "overrides.yaml").write_text(yaml.safe_dump(overrides), encoding="utf-8")
    (folder / "versions.json").write_text(json.dumps(versions(), indent=2) + "\n")
    return folder


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


def saved_settings(folder: Path) -> Tuple[TaskCfg, AlgoCfg]:
    """Settings of the run's task and algorithm. Raises ValueError where the configuration is damaged or unknown."""
    return settings_in(saved_config(folder), folder / "config.yaml")


def settings_in(config: Dict[str, Any], source: Path) -> Tuple[TaskCfg, AlgoCfg]:
    """Settings of the task and the algorithm that a run's configuration from the file `source` holds, as above."""
    register_external_tasks([config["task"]["name"]])
    task = _settings(source, "task", TASKS, config["task"])
    return task, _settings(source, "algo", ALGOS, config["algo"])


def _settings(source: Path, group: str, registry: Dict[str, str], values: Dict[str, Any]) -> Any:
    """Settings of a group from the values in the file `source`."""
    name = values["name"]
    if name not in registry:
        raise ValueError(f"{source} has {group} {name!r}, which is unknown to this version")
    try:
        return build_settings(registry, values)
    except (OmegaConfBaseException, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise ValueError(f"{source} is damaged: {group}: {reason}") from None


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not readable ({type(error).__name__}): not a run folder, or damaged") from None
