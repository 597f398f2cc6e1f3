"""Starting Isaac Sim and making one of Isaac Lab's environments. Both are the user's own installs; see docs/isaaclab.md."""

import atexit
import difflib
from importlib import import_module
from typing import Any

import torch

from harl_isaac.adapters.in_process import claim, surroundings
from harl_isaac.env import MissingSimulator

INSTALL = (
    "install Isaac Sim and Isaac Lab (isaac-sim.github.io/IsaacLab, on Python 3.11 with a CUDA GPU), then this package "
    "into the same environment; see docs/isaaclab.md"
)


def simulation(task: str, cfg, num_envs: int, device: torch.device) -> Any:
    """Isaac Lab's own environment object, without gymnasium's wrappers.

    Raises MissingSimulator where Isaac Sim or Isaac Lab is not here, ValueError for a task or an option unknown to it.
    """
    try:
        launcher = import_module("isaaclab.app").AppLauncher
    except ImportError as error:
        raise MissingSimulator(f"task=isaaclab/... needs Isaac Sim and Isaac Lab ({error}): {INSTALL}") from None
    claim("task=isaaclab/" + task)
    with surroundings(None, []):  # Isaac Sim reads sys.argv
        app = launcher(headless=cfg.headless, enable_cameras=cfg.cameras, device=str(device)).app
        atexit.register(app.close)
        for module in cfg.modules:  # nothing else of Isaac Lab may be imported before the app runs
            import_module(module)
        return made(task, cfg, num_envs, device)


def made(task: str, cfg, num_envs: int, device: torch.device) -> Any:
    """The environment `task`, with the options of `cfg`."""
    import gymnasium
    from isaaclab_tasks.utils import parse_env_cfg

    if task not in gymnasium.registry:
        known = [name for name in gymnasium.registry if "Isaac" in name]
        near = difflib.get_close_matches(task, known, 3, 0.4)
        raise ValueError(
            "task=isaaclab/{} is not registered by {}{}; task.modules names more packages with tasks".format(
                task, ", ".join(cfg.modules), "; did you mean {}?".format(" or ".join(near)) if near else ""
            )
        )
    values = parse_env_cfg(task, device=str(device), num_envs=num_envs)
    try:
        values.from_dict(dict(cfg.options))
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"task.options={dict(cfg.options)} do not fit {type(values).__name__}: {error}") from None
    return gymnasium.make(task, cfg=values).unwrapped  # the wrappers forward no attributes
