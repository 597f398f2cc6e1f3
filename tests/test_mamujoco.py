"""MAMuJoCo tasks beside the original: from the same states and actions the same observations, states, rewards and ends."""

import numpy as np
import pytest
import torch

from harl_isaac.config import TASKS, locate
from harl_isaac.tasks.mamujoco.factorisation import agents_joints

pytest.importorskip("gymnasium_robotics")

from reference_mamujoco import Original  # noqa: E402

CPU = torch.device("cpu")
OBSKS = (0, 1, 2)
FACTORISATIONS = [("HalfCheetah", "2x3"), ("HalfCheetah", "3x2"), ("HalfCheetah", "6x1"),
                  ("HalfCheetah", "bthigh+fthigh,bshin+bfoot+fshin+ffoot"), ("Ant", "2x4"), ("Ant", "2x4d"), ("Ant", "4x2"),
                  ("Ant", "8x1"), ("Hopper", "3x1"), ("Walker2d", "2x3"), ("Walker2d", "3x2"), ("Walker2d", "6x1")]
STEPS, EPISODE = 200, 70
FORCES = ("Ant",)


def make(scenario, dtype=torch.float32, num_envs=1, sim="mujoco", **settings):
    cfg = locate(TASKS["mamujoco/" + scenario])(**settings)
    return type(cfg.make(1, CPU, "mujoco"))(cfg, num_envs, CPU, sim, dtype)


class Pair:
    """Ours, one for each obsk and one that sees everything, and the original, always in the same state."""

    def __init__(self, scenario, agents, dtype):
        def ours(**view):
            return make(scenario, dtype, agents=agents, episode_length=EPISODE, **view)

        self.local, self.full = [ours(obs="local", obsk=k) for k in OBSKS], ours()
        self.tasks = self.local + [self.full]
        groups = agents_joints(agents, self.full._joints(), self.full.named)
        self.original = Original(scenario, agents, self.full._actuated, groups, OBSKS, EPISODE)
        if scenario in FORCES:
            self.original.forces_as_sensors_have_them(self.full.model)
        for task in self.tasks:
            task.reset_rows = lambda mask, task=task: self.place(task, mask)
        self.restart(0)

    def restart(self, seed):
        self.start = [torch.from_numpy(value)[None] for value in self.original.reset(seed)]

    def place(self, task, mask):
        task.physics.set_state(mask, *self.start)
        task.physics.ctrl.zero_()

    def expected(self):
        return [self.original.obs(i) for i in range(len(OBSKS))], self.original.state().copy()

    def compare(self, steps, expected, close, successor=False):
        locals_, state = expected
        names = ("next_obs", "next_state") if successor else ("obs", "state")
        for step, obs in zip(steps, locals_ + [None]):
            close(getattr(step, names[1])[0, 0], state)
            for i, seen in enumerate(getattr(step, names[0])):
                one_hot = np.eye(len(step.obs))[i]
                close(seen[0], np.concatenate((state, one_hot)) if obs is None else obs[i])


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=["float64", "float32"])
@pytest.mark.parametrize("scenario, agents", FACTORISATIONS)
def test_equal_to_the_original(scenario, agents, dtype):
    """200 random steps with resets: 1e-9 in float64; in float32 rounding alone, 1e-5."""
    tolerance = 1e-9 if dtype == torch.float64 else 1e-5

    def close(mine, theirs):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=tolerance, atol=tolerance)

    pair, random, ends = Pair(scenario, agents, dtype), np.random.default_rng(1), 0
    pair.compare([task.reset(0) for task in pair.tasks], pair.expected(), close)
    spaces = pair.full.spec.actions
    for t in range(STEPS):
        actions = [random.uniform(space.low, space.high, space.size).astype(np.float32) for space in spaces]
        reward, terminated, truncated = pair.original.step(actions)
        after = pair.expected()
        if terminated or truncated:
            pair.restart(t)
            ends += 1
        steps = [task.step(tuple(torch.from_numpy(action)[None] for action in actions)) for task in pair.tasks]
        pair.compare(steps, after, close, successor=True)
        pair.compare(steps, pair.expected(), close)
        for step in steps:
            close(step.reward[0, 0], reward)
            assert (step.terminated.item(), step.truncated.item()) == (terminated, truncated and not terminated)
    assert ends >= 2
