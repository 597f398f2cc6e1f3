"""Run folders: what a run was started with, and where it keeps things."""

import json
import platform
import sys
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Dict, List

import yaml
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from harl_isaac.config import RunCfg

PACKAGES = ("harl-isaac", "torch", "numpy", "mujoco", "mujoco-warp", "warp-lang", "gymnasium-robotics", "hydra-core")


def new_run(cfg: DictConfig, run: RunCfg) -> Path:
    """Make a run folder that holds the composed configuration, the overrides given, and all versions."""
    base = Path(run.run_root) / run.task.name / run.algo.name
    name = f"{time.strftime('%Y%m%d-%H%M%S')}-seed{run.seed}"
    for suffix in [""] + [f"-{i}" for i in range(2, 1000)]:
        folder = base / (name + suffix)
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:  # another run of this second
            continue
    (folder / "config.yaml").write_text(OmegaConf.to_yaml(cfg, resolve=True))
    (folder / "overrides.yaml").write_text(yaml.safe_dump(list(HydraConfig.get().overrides.task)))
    (folder / "versions.json").write_text(json.dumps(versions(), indent=2) + "\n")
    return folder


def versions() -> Dict[str, Any]:
    """Python, machine and package versions."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return {"python": sys.version.split()[0], "platform": platform.platform(), "packages": found}


def read_overrides(folder: Path) -> List[str]:
    """What the run was started with. Raises ValueError where the folder is not a run's."""
    return _read(folder / "overrides.yaml")


def saved_config(folder: Path) -> Dict[str, Any]:
    """The run's composed configuration. Raises ValueError where the folder is not a run's."""
    return _read(folder / "config.yaml")


def _read(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text())
    except (OSError, yaml.YAMLError) as error:
        raise ValueError(f"{path} is not readable ({type(error).__name__}): not a run folder") from None
