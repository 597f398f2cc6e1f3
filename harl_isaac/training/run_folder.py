"""Run folders: the settings and versions that a run was started with, beside its records and checkpoints."""

import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, List, Optional

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from harl_isaac import __version__
from harl_isaac.config import RunCfg

PACKAGES = ("torch", "numpy", "mujoco", "mujoco-warp", "warp-lang", "gymnasium-robotics", "hydra-core")


def new_run(cfg: DictConfig, run: RunCfg) -> Path:
    """Make a run folder that holds the composed configuration, the overrides given, and all versions."""
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-seed{run.seed}"
    folder = _make_folder(Path(run.run_root) / run.task.name / run.algo.name, name)
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(HydraConfig.get().overrides.task)))
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
    """The overrides that the run was started with. Raises ValueError where the folder is not a run's."""
    return _read(folder / "overrides.yaml")


def saved_config(folder: Path) -> Dict[str, Any]:
    """The run's composed configuration. Raises ValueError where the folder is not a run's."""
    return _read(folder / "config.yaml")


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not readable ({type(error).__name__}): not a run folder") from None
