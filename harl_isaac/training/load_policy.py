"""Loading a trained policy from a run folder or a checkpoint."""

from pathlib import Path
from typing import Tuple

from harl_isaac.algos import ALGOS
from harl_isaac.devices import choose_device
from harl_isaac.env import MultiAgentEnv
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.registry import build_settings, register_external_tasks
from harl_isaac.tasks import TASKS
from harl_isaac.training import checkpoint
from harl_isaac.training.run_folder import saved_config


def load_policy(run: str, num_envs: int, device: str, sim: str) -> Tuple[MultiAgentEnv, JointPolicy, Path]:
    """Build the run's environment and its policies; the third result is the checkpoint that they come from.

    `run` is a run folder (its best checkpoint, else its latest) or a checkpoint file. Raises ValueError.
    """
    if not run:
        raise ValueError("give run=<run folder>, such as run=runs/ShadowHandOver/happo/20260101-120000-seed1")
    best = Path(run) / checkpoint.FOLDER / "best.pt"
    file = best if best.is_file() else checkpoint.find(run)
    saved = checkpoint.load(file)
    config = saved_config(checkpoint.run_folder(file))
    register_external_tasks([config["task"]["name"]])
    task = build_settings(TASKS, config["task"])
    algo = build_settings(ALGOS, config["algo"])
    env = task.make(num_envs, choose_device(device), sim)
    checkpoint.check_sizes(saved["sizes"], env.spec, "num_envs")
    actors = algo.actors(env.spec)
    actors.load_state_dict(saved["learner"]["actors"])
    return env, actors, file
