"""Shared by all tests: few threads that do not spin, a working folder of their own for runs, small settings."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import pytest
import torch
from hydra import compose, initialize_config_module
from support.small_runs import OFF_POLICY, SMALL, SMALL_REPLAY

from harl_isaac.algos import ALGOS
from harl_isaac.config import register, to_run
from harl_isaac.env import MissingSimulator
from harl_isaac.tasks import TASKS

registered = {}


def register_once():
    """Register again only where a test has added a name: it takes a seventh of a second."""
    names = {**TASKS, **ALGOS}
    if not names.items() <= registered.items():
        register()
        registered.update(names)


@pytest.fixture
def settings():
    """settings(task, *overrides) -> RunCfg of a tiny run on the CPU, as the command line would compose it."""

    def make(task, *overrides):
        register_once()
        words = ["task=" + task, "num_envs=6", "device=cpu", "log.console=none", "eval.interval=0", "eval.episodes=4"]
        if not any(word.startswith("preset=") for word in overrides):
            words += ["preset=none"]  # a preset's minibatches are too many for so few rows
        words += SMALL.get(task, [])
        if any("algo=" + name in overrides for name in OFF_POLICY):
            words = [word for word in words if "rollout_length" not in word] + SMALL_REPLAY
        with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
            return to_run(compose("config", words + list(overrides)))

    return make


@pytest.fixture(autouse=True)
def same_random_numbers():
    torch.manual_seed(0)
    torch.set_num_threads(1 if "PYTEST_XDIST_WORKER" in os.environ else 2)
    register_once()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item):
    """Skip a test that needs a simulator which is not installed here; the reason names the package to install."""
    try:
        return (yield)
    except MissingSimulator as error:
        pytest.skip(str(error))
