"""The task and algorithm that are measured."""

from dataclasses import dataclass, replace
from typing import Any, Dict

import torch
from hydra import compose, initialize_config_module

from harl_isaac.cli.overrides import check_command_line
from harl_isaac.config import RunCfg, register, to_run
from harl_isaac.env import EnvSpec, MultiAgentEnv
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.on_policy_cfg import OnPolicyCfg
from harl_isaac.settings import TaskCfg


@dataclass
class Subject:
    """A task and an algorithm, where they run, and how often each figure is measured."""

    task: TaskCfg
    algo: AlgoCfg
    device: torch.device
    sim: str
    repeats: int

    def make(self, num_envs: int) -> MultiAgentEnv:
        """Build environments of the task."""
        return self.task.make(num_envs, self.device, self.sim)

    def on_policy(self) -> OnPolicyCfg:
        """The algorithm's settings. Raises ValueError for an off-policy one, which has no rollout."""
        if not isinstance(self.algo, OnPolicyCfg):
            raise ValueError(f"algo={self.algo.name} has no rollout; measured are step and train, or what=off_policy")
        return self.algo

    def on_policy_learner(self, spec: EnvSpec, **changed: Any) -> OnPolicyLearner:
        """A new learner with some settings changed. Raises ValueError for an off-policy algorithm."""
        learner = replace(self.on_policy(), **changed).learner(spec, 0)
        assert isinstance(learner, OnPolicyLearner)
        return learner


def compose_run(args: Dict[str, Any]) -> RunCfg:
    """Compose the run that is measured as the command line would. Raises ValueError for unknown names."""
    register()
    words = ["task=" + args["task"], "algo=" + args["algo"], f"algo.rollout_length={args['rollout_length']}"]
    if args["experiment"]:
        words = ["experiment=" + args["experiment"]]
    check_command_line(words)
    with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
        return to_run(compose("config", words))
