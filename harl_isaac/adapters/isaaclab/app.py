"""Starts Isaac Sim and builds an environment of Isaac Lab.

Both are the user's own installs, see docs/isaaclab.md. `cfg` is an IsaacLabCfg (env.py) throughout.
"""

import atexit
import difflib
from importlib import import_module
from typing import Any

import torch

from harl_isaac.adapters.in_process import claim_process, cwd_and_argv, run_seed
from harl_isaac.env import MissingSimulator
from harl_isaac.hints import source_file

INSTALL = (
    "install Isaac Sim and Isaac Lab (isaac-sim.github.io/IsaacLab, on Python 3.11 with a CUDA GPU), then this package "
    "into the same environment"
)


def make_simulation(task: str, cfg: Any, num_envs: int, device: torch.device) -> Any:
    """Start Isaac Sim and build the environment object of Isaac Lab, without gymnasium's wrappers.

    Raises MissingSimulator where Isaac Sim or Isaac Lab is not installed, ValueError for an unknown task or option.
    """
    try:
        launcher = import_module("isaaclab.app").AppLauncher
    except ImportError as error:
        guide = source_file("docs/isaaclab.md")
        text = f"task=isaaclab/... needs Isaac Sim and Isaac Lab ({error}): {INSTALL}; see {guide}"
        raise MissingSimulator(text) from None
    claim_process("task=isaaclab/" + task)
    with cwd_and_argv(None, []):  # Isaac Sim reads sys.argv
        app = launcher(headless=cfg.headless, enable_cameras=cfg.cameras, device=str(device)).app
        atexit.register(app.close)
        for module in cfg.modules:  # nothing else of Isaac Lab may be imported before the app runs
            import_module(module)
        return make_env(task, cfg, num_envs, device)


def make_env(task: str, cfg: Any, num_envs: int, device: torch.device) -> Any:
    """Build the registered environment `task` with the options of `cfg` and the run's seed, after Isaac Sim started."""
    import gymnasium
    from isaaclab_tasks.utils import parse_env_cfg

    if task not in gymnasium.registry:
        known = [name for name in gymnasium.registry if "Isaac" in name]
        near = difflib.get_close_matches(task, known, 3, 0.4)
        suggestion = f"; did you mean {' or '.join(near)}?" if near else ""
        raise ValueError(
            f"task=isaaclab/{task} is not registered by {', '.join(cfg.modules)}{suggestion}; "
            "task.modules names more packages with tasks"
        )
    values = parse_env_cfg(task, device=str(device), num_envs=num_envs)
    try:
        values.from_dict(dict(cfg.options))
    except (KeyError, ValueError, TypeError) as error:
        raise ValueError(f"task.options={dict(cfg.options)} do not fit {type(values).__name__}: {error}") from None
    if "seed" not in cfg.options:  # else what is drawn while it is built, such as a terrain, is another in each run
        values.seed = run_seed()
    return gymnasium.make(task, cfg=values).unwrapped  # the wrappers forward no attributes
