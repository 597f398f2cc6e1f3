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
INSTALL = ("install Isaac Gym Preview 4 (developer.nvidia.com/isaac-gym, on Python 3.8: pip install -e isaacgym/python) and "
           "https://github.com/PKU-MARL/DexterousHands (pip install -e DexterousHands); see docs/isaacgym.md")


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
            return parse_task(args, values, training, parse_sim_params(args, values, training), get_AgentIndex(values))[1]
    except SystemExit as error:  # how it reports that there is no simulation, with exit code 0
        raise ValueError("Isaac Gym could not make task=isaacgym/%s on %s with graphics device %d (exit %s); what it says is "
                         "above" % (task, device, graphics, error.code)) from None


def import_both() -> Path:
    """The folder of the package bidexhands, where its cfg/ lies, after Isaac Gym was imported before it."""
    try:
        import_module("isaacgym")
        bidexhands = import_module("bidexhands")
    except ImportError as error:
        if "before" in str(error):  # torch was first
            raise ValueError("isaacgym must be imported before torch, as train.py and the scripts do for task=isaacgym/...: put "
                             "import isaacgym in your program's first line (%s)" % error) from None
        raise MissingSimulator("task=isaacgym/... needs Isaac Gym and Bi-DexterousHands (%s): %s" % (error, INSTALL)) from None
    return Path(bidexhands.__file__).resolve().parent


def refuse_unknown(task: str, home: Path) -> None:
    """Raises ValueError for a task that this bidexhands has no settings for, or that its split into agents does not fit."""
    known = sorted(path.stem for path in (home / "cfg").glob("*.yaml"))
    if task.startswith("Allegro"):
        raise ValueError("task=isaacgym/%s: Bi-DexterousHands splits the Shadow hand into agents, not the Allegro hand" % task)
    if task not in known:
        raise ValueError("task=isaacgym/%s is unknown to the Bi-DexterousHands in %s; possible: %s" % (
            task, home, ", ".join(known)))


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
        raise ValueError("task.agents=%s; possible: hands, fingers, or groups that name %s in this order, such as "
                         "palm+FF+MF,RF+LF+TH or [[0,1,2],[3,4,5]]" % (agents, ", ".join(PARTS)))
    return groups


def command_line(cfg, num_envs: int, device: torch.device) -> List[str]:
    """What bidexhands and Isaac Gym read from sys.argv: policies and simulation on one device."""
    words = ["--sim_device=%s" % device, "--rl_device=%s" % device, "--num_envs=%d" % num_envs,
             "--pipeline=%s" % ("gpu" if device.type == "cuda" else "cpu")]
    words += ["--headless"] if cfg.headless else []
    return words + (["--episode_length=%d" % cfg.episode_length] if cfg.episode_length else [])


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
            raise ValueError("%s.%s is unknown; possible: %s" % (prefix, key, known))
        if isinstance(change, dict):
            override(values[key], change, "%s.%s" % (prefix, key))
        else:
            values[key] = change
