"""Shared by all tests: few threads that do not spin, a working folder of their own for runs, small settings."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest  # noqa: E402
import torch  # noqa: E402
from hydra import compose, initialize_config_module  # noqa: E402

from harl_isaac.config import TASKS, register, to_run  # noqa: E402

SMALL = {
    "CountingGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "MatrixGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "MemoryGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "MixedGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "OppositesGame": ["algo.rollout_length=5", "algo.hidden=[8]"],
    "ShadowHandOver": ["algo.rollout_length=5", "algo.hidden=[16]", "sim=mujoco"],
}
SMALL.update({name: ["algo.rollout_length=5", "algo.hidden=[16]", "sim=mujoco"] for name in TASKS
              if name.startswith("mamujoco/")})


@pytest.fixture
def settings():
    """settings(task, *overrides) -> RunCfg of a tiny run on the CPU, as the command line would compose it."""

    def make(task, *overrides):
        register()
        words = ["task=" + task, "num_envs=6", "device=cpu", "log.console=none", "eval.interval=0", "eval.episodes=4"]
        with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
            return to_run(compose("config", words + SMALL.get(task, []) + list(overrides)))

    return make


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)
    torch.set_num_threads(2)
    register()
