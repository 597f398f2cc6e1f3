"""Builds a simulation of Bi-DexterousHands on Isaac Gym as its own train.py does, without leaving globals changed.

Both are the user's own installs, see docs/isaacgym.md. `cfg` is an IsaacGymCfg (env.py) throughout.
"""

import random
from ast import literal_eval
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, Iterator, List, Sequence, Tuple

import numpy as np
import torch

from harl_isaac.adapters.in_process import claim_process, cwd_and_argv, run_seed
from harl_isaac.env import MissingSimulator
from harl_isaac.hints import source_file
from harl_isaac.tasks.hands.partition import hand_groups
from harl_isaac.tasks.hands.shadow_hand import SHADOW_HAND

INSTALL = (
    "install Isaac Gym Preview 4 (developer.nvidia.com/isaac-gym, on Python 3.8: pip install -e isaacgym/python) and "
    "https://github.com/PKU-MARL/DexterousHands (pip install -e DexterousHands)"
)


def make_simulation(task: str, cfg: Any, num_envs: int, device: torch.device) -> Any:
    """Build bidexhands' MultiVecTaskPython, with its tensors on `device` at all times.

    Raises ValueError for settings that it does not know, MissingSimulator where one of the packages is not installed.
    """
    home = import_packages()
    check_task(task, home)
    groups = ordered_groups(cfg.agents)
    from bidexhands.tasks.hand_base.base_task import BaseTask
    from bidexhands.utils.config import get_args, load_cfg, parse_sim_params
    from bidexhands.utils.parse_task import parse_task
    from bidexhands.utils.process_marl import get_AgentIndex

    claim_process("task=isaacgym/" + task)
    random.seed(run_seed())  # tasks draw from these while they are built
    np.random.seed(run_seed())
    graphics = cfg.graphics_device
    if graphics is None:
        graphics = -1 if cfg.headless else device.index or 0
    try:
        with cwd_and_argv(home, arguments(cfg, num_envs, device)), fixed_graphics_device(BaseTask, graphics):
            args = get_args(task_name=task, algo="happo")  # which of its algorithms is named decides nothing here
            args.task_type = "MultiAgent"
            values, training, _ = load_cfg(args)
            values["env"]["handAgentIndex"] = str(numbers_of_names(groups))
            apply_options(values, cfg.options)
            sim_params = parse_sim_params(args, values, training)
            _, simulation = parse_task(args, values, training, sim_params, get_AgentIndex(values))
            return simulation
    except SystemExit as error:  # how it reports that there is no simulation, with exit code 0
        raise ValueError(
            f"Isaac Gym could not make task=isaacgym/{task} on {device} with graphics device {graphics} "
            f"(exit {error.code}); what it says is above"
        ) from None


def import_packages() -> Path:
    """Import Isaac Gym, then bidexhands; returns the folder of the latter, which holds its cfg/."""
    try:
        import_module("isaacgym")
        bidexhands = import_module("bidexhands")
    except ImportError as error:
        if "before" in str(error):  # torch was first
            raise ValueError(
                "isaacgym must be imported before torch, as train.py and the scripts do for task=isaacgym/...: put "
                f"import isaacgym in your program's first line ({error})"
            ) from None
        raise MissingSimulator(
            f"task=isaacgym/... needs Isaac Gym and Bi-DexterousHands ({error}): {INSTALL}; see "
            f"{source_file('docs/isaacgym.md')}"
        ) from None
    return Path(str(bidexhands.__file__)).resolve().parent


def check_task(task: str, home: Path) -> None:
    """Raise ValueError for a task without settings in this bidexhands, or one that cannot be split into agents."""
    known = sorted(path.stem for path in (home / "cfg").glob("*.yaml"))
    if task.startswith("Allegro"):
        raise ValueError(
            f"task=isaacgym/{task}: Bi-DexterousHands splits the Shadow hand into agents, not the Allegro hand"
        )
    if task not in known:
        raise ValueError(
            f"task=isaacgym/{task} is unknown to the Bi-DexterousHands in {home}; possible: {', '.join(known)}"
        )


def ordered_groups(agents: str) -> List[Tuple[str, ...]]:
    """Groups of parts of a hand, one agent each. Raises ValueError unless they name all parts in their order.

    The simulation concatenates the agents' actions: another order would move other joints.
    """
    try:
        groups = hand_groups(names_of_numbers(agents))
    except ValueError:
        groups = []
    if [part for group in groups for part in group] != list(SHADOW_HAND.parts):
        raise ValueError(
            f"task.agents={agents}; possible: hands, fingers, or groups that name {', '.join(SHADOW_HAND.parts)} "
            "in this order, such as palm+FF+MF,RF+LF+TH or [[0,1,2],[3,4,5]]"
        )
    return groups


def names_of_numbers(agents: str) -> str:
    """Replace numbers of parts, [[0,1,2],[3,4,5]] as in bidexhands' YAML, by names; any other text stays as it is."""
    names = list(SHADOW_HAND.parts)
    try:
        return ",".join("+".join(names[part] for part in group) for group in literal_eval(agents))
    except (SyntaxError, ValueError, TypeError, IndexError):
        return agents


def numbers_of_names(groups: Sequence[Sequence[str]]) -> List[List[int]]:
    """Replace the names of parts by bidexhands' numbers."""
    names = list(SHADOW_HAND.parts)
    return [[names.index(part) for part in group] for group in groups]


def arguments(cfg: Any, num_envs: int, device: torch.device) -> List[str]:
    """Command-line arguments for bidexhands and Isaac Gym: policies and simulation on one device."""
    words = [
        f"--sim_device={device}",
        f"--rl_device={device}",
        f"--num_envs={num_envs}",
        f"--pipeline={'gpu' if device.type == 'cuda' else 'cpu'}",
    ]
    if cfg.headless:
        words.append("--headless")
    if cfg.episode_length:
        words.append(f"--episode_length={cfg.episode_length}")
    return words


@contextmanager
def fixed_graphics_device(base_task: Any, number: int) -> Iterator[None]:
    """Make simulations of the class `base_task` render on the graphics device `number` (-1: none).

    bidexhands gives the number of the compute device, even when nothing is rendered. But Vulkan numbers devices in its
    own way and ignores CUDA_VISIBLE_DEVICES: on cuda:1 that number may name another device or none, and the process
    dies.
    """
    original = base_task.create_sim

    def create_sim(task: Any, compute_device: int, graphics_device: int, *rest: Any) -> Any:
        return original(task, compute_device, number, *rest)

    base_task.create_sim = create_sim
    try:
        yield
    finally:
        base_task.create_sim = original


def apply_options(values: Dict[str, Any], options: Dict[str, Any], prefix: str = "task.options") -> None:
    """Write `options` into the task's own YAML values. Raises ValueError for a key that is not there."""
    for key, option in options.items():
        if not isinstance(values, dict) or key not in values:
            known = ", ".join(map(str, values)) if isinstance(values, dict) else "a value, not keys"
            raise ValueError(f"{prefix}.{key} is unknown; possible: {known}")
        if isinstance(option, dict):
            apply_options(values[key], option, f"{prefix}.{key}")
        else:
            values[key] = option
