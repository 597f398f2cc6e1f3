"""Loading a trained policy from a run folder, a checkpoint or a policy file."""

from pathlib import Path
from typing import Any, Dict, NamedTuple, Tuple

from harl_isaac.devices import choose_device
from harl_isaac.env import EnvSpec, MultiAgentEnv
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.settings import TaskCfg, check_engine
from harl_isaac.training import checkpoint
from harl_isaac.training.policy_file import is_policy
from harl_isaac.training.run_folder import check_names, saved_settings, settings_in
from harl_isaac.training.trust import check_trusted


class SavedPolicy(NamedTuple):
    """A trained policy as it was read, with the settings that it was trained with."""

    file: Path  # the checkpoint or policy file
    state: Dict[str, Any]
    task: TaskCfg
    algo: AlgoCfg

    def actors(self, spec: EnvSpec) -> JointPolicy:
        """The policies, for environments of this spec. Raises ValueError where they do not fit."""
        return restored_actors(self.state, self.algo, spec, self.file)


def restored_actors(state: Dict[str, Any], algo: AlgoCfg, spec: EnvSpec, file: Path) -> JointPolicy:
    """The policies of a training state from `file`, for environments of this spec. Raises ValueError."""
    with checkpoint.damage_named(file):
        weights = state["learner"]["actors"]
        checkpoint.check_sizes(state["sizes"], spec, "num_envs")
        actors: Any = algo.actors(spec)  # a JointPolicy and a torch module
        actors.load_state_dict(weights)
    checkpoint.check_finite_weights(weights, file)
    return actors


def saved_policy(run: str, trust: bool = False) -> SavedPolicy:
    """Read a run folder (its best checkpoint, else its latest), a checkpoint or a policy file.

    With `trust` its task may run code of other packages. Raises ValueError.
    """
    file = checkpoint.policy_file(run)
    state = checkpoint.load(file)
    if is_policy(state):
        source = file
        check_names(state.get("settings"), file)
        task, algo = settings_in(state["settings"], file, trust)
    else:
        source = checkpoint.run_folder(file)
        task, algo = saved_settings(source, trust)
    check_trusted(task, source, trust, [])
    checkpoint.check_run(state, task.name, algo.name, file)
    return SavedPolicy(file, state, task, algo)


def load_policy(
    run: str, num_envs: int, device: str, sim: str, trust: bool = False
) -> Tuple[MultiAgentEnv, JointPolicy, Path]:
    """Build the run's environment and its policies; the third result is the file that they come from.

    `run` and `trust` as in `saved_policy`. Raises ValueError.
    """
    check_engine(sim)
    saved = saved_policy(run, trust)
    env = saved.task.for_evaluation().make(num_envs, choose_device(device), sim)
    return env, saved.actors(env.spec), saved.file
