"""The environment contract: every registered task keeps it, and each kind of breach is found and named."""

import dataclasses
import pickle

import numpy as np
import pytest
import torch

from harl_isaac.acting import to_env
from harl_isaac.check_env import check_env, random_actions
from harl_isaac.env import Box, Discrete, EnvSpec, MissingSimulator, MultiDiscrete
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


def spec_of(actions, obs_sizes=(2,)):
    return EnvSpec(2, ("one",), obs_sizes, actions, state_size=2, max_episode_steps=5, device=CPU)


def test_spaces_of_gymnasium_are_taken_at_the_door():
    spaces = pytest.importorskip("gymnasium.spaces", reason="gymnasium is not installed")
    taken = [
        (spaces.Box(-2.0, 2.0, (3,)), Box(3, -2.0, 2.0)),
        (spaces.Box(np.array([0, -1], np.float32), np.array([4, 1], np.float32)), Box(2, (0.0, -1.0), (4.0, 1.0))),
        (spaces.Discrete(4), Discrete(4)),
        (spaces.MultiDiscrete([2, 3]), MultiDiscrete((2, 3))),
    ]
    for given, expected in taken:
        spec = spec_of([given], [spaces.Box(-1, 1, (7,))])
        assert spec.actions == (expected,) and spec.obs_sizes == (7,) and spec.agents == ("one",)
        assert pickle.loads(pickle.dumps(spec)) == spec and "numpy" not in repr(spec)


def test_actions_arrive_within_bounds_of_each_dimension():
    spec = spec_of([Box(2, (0.0, -1.0), (4.0, 1.0))])
    action = torch.tensor([[[-3.0, 0.5]], [[0.0, 1.0]]])  # [E, A, W]
    assert torch.equal(to_env(spec, action)[0], torch.tensor([[0.0, 0.5], [2.0, 1.0]]))
    (action,) = random_actions(spec, None, torch.Generator().manual_seed(0))
    assert bool(((action >= torch.tensor([0.0, -1.0])) & (action <= torch.tensor([4.0, 1.0]))).all())


REFUSED = {
    "without bounds": (lambda spaces: spaces.Box(-np.inf, 1.0, (2,)), "finite real bounds"),
    "whole numbers": (lambda spaces: spaces.Box(0, 9, (2,), np.int64), "finite real bounds"),
    "an image": (lambda spaces: spaces.Box(0.0, 1.0, (2, 2)), r"shape \(2, 2\); give a space of one dimension"),
    "numbered from 1": (lambda spaces: spaces.Discrete(3, start=1), "give start=0"),
    "binary": (lambda spaces: spaces.MultiBinary(3), "possible: Box, Discrete, MultiDiscrete"),
    "a dict": (lambda spaces: spaces.Dict({"a": spaces.Discrete(2)}), "possible: Box, Discrete, MultiDiscrete"),
    "a number": (lambda spaces: 5, "agent one has actions 5; possible: Box"),
}


@pytest.mark.parametrize("kind", list(REFUSED))
def test_spaces_that_policies_cannot_have_are_named(kind):
    spaces = pytest.importorskip("gymnasium.spaces", reason="gymnasium is not installed")
    make, message = REFUSED[kind]
    with pytest.raises(ValueError, match=message):
        spec_of((make(spaces),))


def test_a_spec_of_unequal_numbers_is_refused():
    with pytest.raises(ValueError, match="1 agents, 2 obs_sizes and 1 actions; give one of each"):
        spec_of((Discrete(2),), (2, 3))
    with pytest.raises(ValueError, match="agent one has observations many; give their width"):
        spec_of((Discrete(2),), ("many",))
