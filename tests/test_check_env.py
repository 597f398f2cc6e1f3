"""The environment contract: every registered task keeps it, and each kind of breach is found and named."""

import dataclasses

import pytest
import torch

from harl_isaac.check_env import check_env
from harl_isaac.env import MissingSimulator
from harl_isaac.registry import default_settings
from harl_isaac.tasks import SCENARIOS, TASKS
from harl_isaac.tasks.games.counting import CountingGame
from harl_isaac.tasks.games.matrix import MatrixGameCfg

CPU = torch.device("cpu")


# Those of SCENARIOS are held to it in the tests of their adapters: a family is one piece of code, slow to start.
@pytest.mark.parametrize("name", sorted(name for name in TASKS if name.split("/")[0] not in SCENARIOS))
def test_every_task_keeps_the_contract(name):
    cfg = default_settings(TASKS, name)
    try:
        cfg.make(1, CPU, "auto").close()
    except MissingSimulator as error:
        pytest.skip(str(error))
    check_env(lambda: cfg.make(6, CPU, "auto"), steps=90)


def test_masks_and_absences_keep_the_contract():
    check_env(lambda: MatrixGameCfg(masks=True, absences=True).make(6, CPU, "auto"), steps=10)


def breach(change):
    """A counting game whose every Step goes through `change`."""

    class Broken(CountingGame):
        def step(self, actions):
            return change(self, super().step(actions), actions)

    return lambda: Broken(6, CPU)


def replaced(**values):
    return breach(
        lambda env, step, actions: dataclasses.replace(step, **{name: value(step) for name, value in values.items()})
    )


BREACHES = {
    "has shape": replaced(reward=lambda step: step.reward[:, 0]),
    "expected torch.float32": replaced(reward=lambda step: step.reward.double()),
    "is not finite": replaced(reward=lambda step: step.reward / 0.0),
    "both true": replaced(terminated=lambda step: step.done, truncated=lambda step: step.done),
    "differs from its successor": replaced(obs=lambda step: tuple(obs + 1.0 for obs in step.obs)),
    "has 1 tensors for 2 agents": replaced(obs=lambda step: step.obs[:1]),
    "same seed and actions differ": replaced(reward=lambda step: torch.rand_like(step.reward)),
    "metrics are": replaced(metrics=lambda step: {"surprise": step.reward[:, 0]}),
    "action_mask does not agree": replaced(action_mask=lambda step: (step.done, step.done)),
    "no episode ended": replaced(
        terminated=lambda step: step.done & False,
        truncated=lambda step: step.done & False,
        obs=lambda step: step.next_obs,
        state=lambda step: step.next_state,
    ),
    "changed another environment": breach(
        lambda env, step, actions: dataclasses.replace(step, reward=step.reward + actions[0][:1])
    ),
}


@pytest.mark.parametrize("message", sorted(BREACHES))
def test_a_breach_is_named(message):
    with pytest.raises(ValueError, match=message):
        check_env(BREACHES[message], steps=30)


def test_a_state_that_does_not_continue_is_named():
    class Forgetful(CountingGame):
        def load_state_dict(self, state):
            pass

    with pytest.raises(ValueError, match="goes on differently"):
        check_env(lambda: Forgetful(6, CPU), steps=29)
