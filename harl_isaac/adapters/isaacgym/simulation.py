"""Making a simulation of Bi-DexterousHands on Isaac Gym: what its own train.py does, without its globals being left behind.

Both are the user's own installs. See docs/isaacgym.md.
"""

from ast import literal_eval
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, Dict, List

import torch

from harl_isaac.adapters.in_process import claim, surroundings
from harl_isaac.env import MissingSimulator

PARTS = ("palm", "FF", "MF", "RF", "LF", "TH")  # of a hand, by bidexhands' numbers; the palm has the wrist's joints
INSTALL = (
    "install Isaac Gym Preview 4 (developer.nvidia.com/isaac-gym, on Python 3.8: pip install -e isaacgym/python) and "
    "https://github.com/PKU-MARL/DexterousHands (pip install -e DexterousHands); see docs/isaacgym.md"
)


def simulation(task: str, cfg, num_envs: int, device: torch.device):
    """bidexhands' MultiVecTaskPython, with its tensors on `device` all the time.

    Raises ValueError for settings that it does not know, MissingSimulator where one of the two packages is not here.
    """
    home = import_both()
    refuse_unknown(task, home)
    groups = hand_groups(cfg.agents)
    from bidexhands.tasks.hand_base.base_task import BaseTask
    from bidexhands.utils.config import get_args, load_cfg, parse_sim_params
    from bidexhands.utils.parse_task import parse_task
    from bidexhands.utils.process_marl import get_AgentIndex

    claim("task=isaacgym/" + task)
    graphics = cfg.graphics_device
    if graphics is None:
        graphics = -1 if cfg.headless else device.index or 0
    try:
        with surroundings(home, command_line(cfg, num_envs, device)), graphics_device(BaseTask, graphics):
            args = get_args(task_name=task, algo="happo")  # which of its algorithms decides nothing here
            args.task_type = "MultiAgent"
            values, training, _ = load_cfg(args)
            values["env"]["handAgentIndex"] = str([[PARTS.index(part) for part in group] for group in groups])
            override(values, cfg.options)
            return parse_task(args, values, training, parse_sim_params(args, values, training), get_AgentIndex(values))[
                1
            ]
    except SystemExit as error:  # how it reports that there is no simulation, with exit code 0
        raise ValueError(
            f"Isaac Gym could not make task=isaacgym/{task} on {device} with graphics device {graphics} "
            f"(exit {error.code}); what it says is above"
        ) from None


def import_both() -> Path:
    """The folder of the package bidexhands, where its cfg/ lies, after Isaac Gym was imported before it."""
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
            f"task=isaacgym/... needs Isaac Gym and Bi-DexterousHands ({error}): {INSTALL}"
        ) from None
    return Path(bidexhands.__file__).resolve().parent


def refuse_unknown(task: str, home: Path) -> None:
    """Raises ValueError for a task that this bidexhands has no settings for, or that its split into agents does not fit."""
    known = sorted(path.stem for path in (home / "cfg").glob("*.yaml"))
    if task.startswith("Allegro"):
        raise ValueError(
            f"task=isaacgym/{task}: Bi-DexterousHands splits the Shadow hand into agents, not the Allegro hand"
        )
    if task not in known:
        raise ValueError(
            "task=isaacgym/{} is unknown to the Bi-DexterousHands in {}; possible: {}".format(
                task, home, ", ".join(known)
            )
        )


def hand_groups(agents: str) -> List[List[str]]:
    """Parts of a hand for each of its agents. Raises ValueError unless they are all parts in their order.

    The simulation only puts the agents' actions one behind the other: another order would move other joints.
    """
    if agents in ("hands", "fingers"):
        return [list(PARTS)] if agents == "hands" else [[part] for part in PARTS]
    try:
        groups = [[PARTS[part] for part in group] for group in literal_eval(agents)]  # as in bidexhands' own YAML
    except (SyntaxError, ValueError, TypeError, IndexError):
        groups = [group.split("+") for group in agents.split(",")]
    if [part for group in groups for part in group] != list(PARTS) or [] in groups:
        raise ValueError(
            "task.agents={}; possible: hands, fingers, or groups that name {} in this order, such as "
            "palm+FF+MF,RF+LF+TH or [[0,1,2],[3,4,5]]".format(agents, ", ".join(PARTS))
        )
    return groups


def command_line(cfg, num_envs: int, device: torch.device) -> List[str]:
    """What bidexhands and Isaac Gym read from sys.argv: policies and simulation on one device."""
    words = [
        f"--sim_device={device}",
        f"--rl_device={device}",
        f"--num_envs={num_envs}",
        f"--pipeline={('gpu' if device.type == 'cuda' else 'cpu')}",
    ]
    words += ["--headless"] if cfg.headless else []
    return words + ([f"--episode_length={cfg.episode_length}"] if cfg.episode_length else [])


@contextmanager
def graphics_device(base_task, number: int):
    """The device that pictures come from, -1 for none.

    bidexhands gives the number of the compute device, also when nothing is drawn. But Vulkan counts devices in its own way,
    and knows nothing of CUDA_VISIBLE_DEVICES: on cuda:1 that number may name another device or none, and the process dies.
    """
    original = base_task.create_sim

    def create_sim(task, compute, graphics, *rest):
        return original(task, compute, number, *rest)

    base_task.create_sim = create_sim
    try:
        yield
    finally:
        base_task.create_sim = original


def override(values: Dict[str, Any], changes: Dict[str, Any], prefix: str = "task.options") -> None:
    """Put `changes` into the task's own YAML values. Raises ValueError for a key that is not there."""
    for key, change in changes.items():
        if not isinstance(values, dict) or key not in values:
            known = ", ".join(map(str, values)) if isinstance(values, dict) else "a value, not keys"
            raise ValueError(f"{prefix}.{key} is unknown; possible: {known}")
        if isinstance(change, dict):
            override(values[key], change, f"{prefix}.{key}")
        else:
            values[key] = change
