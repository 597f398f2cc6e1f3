"""Loading a trained policy from a run folder or a checkpoint."""

from pathlib import Path
from typing import Any, Tuple

from harl_isaac.devices import choose_device
from harl_isaac.env import MultiAgentEnv
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.settings import check_engine
from harl_isaac.training import checkpoint
from harl_isaac.training.run_folder import saved_settings
from harl_isaac.training.trust import check_trusted


def load_policy(
    run: str, num_envs: int, device: str, sim: str, trust: bool = False
) -> Tuple[MultiAgentEnv, JointPolicy, Path]:
    """Build the run's environment and its policies; the third result is the checkpoint that they come from.

    `run` is a run folder (its best checkpoint, else its latest) or a checkpoint file; with `trust` its task may run
    code of other packages. Raises ValueError.
    """
    if not run:
        raise ValueError("give run=<run folder>, such as run=runs/ShadowHandOver/happo/20260101-120000-seed1")
    check_engine(sim)
    best = Path(run) / checkpoint.FOLDER / "best.pt"
    file = best if best.is_file() else checkpoint.find(run)
    saved = checkpoint.load(file)
    folder = checkpoint.run_folder(file)
    task, algo = saved_settings(folder)
    check_trusted(task, folder, trust, [])
    checkpoint.check_run(saved, task.name, algo.name, file)
    env = task.make(num_envs, choose_device(device), sim)
    with checkpoint.damage_named(file):
        checkpoint.check_sizes(saved["sizes"], env.spec, "num_envs")
        actors: Any = algo.actors(env.spec)  # a JointPolicy and a torch module
        actors.load_state_dict(saved["learner"]["actors"])
    checkpoint.check_finite_weights(saved["learner"]["actors"], file)
    return env, actors, file
