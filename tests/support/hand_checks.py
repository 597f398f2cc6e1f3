"""What is checked alike on every two-hand task: each index of the state, resets, pictures, both engines."""

import numpy as np
import pytest
import torch

from harl_isaac.cli.draw_tasks import draw_start
from harl_isaac.env import Box, MissingSimulator
from harl_isaac.registry import default_settings
from harl_isaac.tasks import TASKS

FREE_BLOCK = 199  # width of a hand that flies, in the state
CPU = torch.device("cpu")


def make_task(name, num_envs=4, sim="mujoco", **settings):
    """The task of a name with some settings of its own; the test is skipped where its hand's model is not found."""
    cfg = default_settings(TASKS, name)
    try:
        return type(cfg)(**settings).make(num_envs, CPU, sim)
    except MissingSimulator as error:
        pytest.skip(str(error))


def random_actions(env, steps, seed):
    """Actions [E, size] of every agent for each step."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        yield tuple(
            2.0 * torch.rand(env.spec.num_envs, space.size, generator=random) - 1.0 for space in env.spec.actions
        )


def check_widths(name, numbers, tail):
    """Widths, actions and the tail's blocks of two hands that fly; numbers: episode, force [N], torque [Nm].

    Returns the tail's width.
    """
    episode, force, torque = numbers
    env = make_task(name, 1)
    width = sum(size for _, size in tail)
    assert env.spec.obs_sizes == (FREE_BLOCK + width,) * 2 and env.spec.state_size == 2 * FREE_BLOCK + width
    assert env.spec.actions == (Box(26), Box(26)) and env.spec.max_episode_steps == episode
    assert make_task(name, 1, agents="fingers").spec.actions == tuple(map(Box, [8, 3, 3, 3, 4, 5] * 2))
    assert env.base == pytest.approx((force, torque), rel=1e-5)
    assert [(block.name, block.width) for block in env.tail] == tail
    return width


def everyone(env):
    """A mask [E] of all environments."""
    return torch.ones(env.spec.num_envs, dtype=torch.bool)


def recompute(env):
    """Compute what follows from positions and velocities, of which some may have been written, with a new solver."""
    env.physics.set_state(everyone(env), env.physics.qpos, env.physics.qvel)
    env.physics.forward(everyone(env))


def check_every_index(env, actions, expected):
    """The state after actions from a start, index by index: expected(row) gives labels and values.

    Then the observations: each hand's own block, and the tail.
    """
    env.reset(0)
    for action in actions:
        env.step(action)
    recompute(env)  # the solver starts anew, as the test's does
    obs, state = env.observe()
    state = state[:, 0]
    for row in range(env.spec.num_envs):
        labels, values = expected(row)
        difference = np.abs(state[row].double().numpy() - values.clip(-5.0, 5.0))
        wrong = [f"{i} {labels[i]}" for i in np.flatnonzero(difference > 3e-4) if labels[i] != "wrench"]
        assert wrong == []
    block = state.shape[1] - obs[0].shape[1]  # the state has the other hand's block too
    for side in range(2):
        own = state[:, side * block : (side + 1) * block]
        assert torch.equal(obs[side], torch.cat((own, state[:, 2 * block :]), dim=1))


def check_reset_leaves_other_rows_alone(env):
    """Rows that are reset begin as at first, the others do not move; of hands that fly."""
    start = env.reset(0).state.clone()
    for action in random_actions(env, 3, 4):
        env.step(action)
    before = (env.physics.qpos.clone(), env.physics.qvel.clone())
    mask = torch.tensor([True, False] * 3)
    env.reset_rows(mask)
    env.physics.forward(mask)
    assert torch.equal(env.physics.qpos[~mask], before[0][~mask])
    assert torch.equal(env.physics.qvel[~mask], before[1][~mask])
    assert not torch.equal(before[0][mask], env.physics.qpos[mask]) and not env.physics.qvel[mask].any()
    columns = [i for i in range(start.shape[-1]) if not 137 <= i % FREE_BLOCK < 167 or i >= 2 * FREE_BLOCK]
    assert torch.allclose(env.observe()[1][mask][..., columns], start[mask][..., columns], atol=1e-4)


def check_start_renders(env, folder):
    """A picture of the start that shows something."""
    try:
        draw_start(env, 0, folder / "start.png")
    except ValueError as error:
        pytest.skip(f"no OpenGL here: {error}")
    assert (folder / "start.png").stat().st_size > 5000


def on_both_engines(make):
    """The task on the CPU engine and on the GPU's, from the same start: make(sim)."""
    one, two = [make(sim) for sim in ("mujoco", "mujoco_warp")]
    one.reset(seed=2)
    two.reset(seed=2)
    return one, two


def check_step(one, two, action, position=1e-4, speed=3e-2):
    """A control step of both engines from the state of the first."""
    for task in (two, one):  # the first still from the other's state
        task.physics.set_state(everyone(task), one.physics.qpos, one.physics.qvel)
        task.physics.forward(everyone(task))
        task.act(torch.cat(action, dim=1))
        task.physics.step()
    torch.testing.assert_close(one.physics.qpos, two.physics.qpos, atol=position, rtol=0)
    torch.testing.assert_close(one.physics.qvel, two.physics.qvel, atol=speed, rtol=0)


def check_verdicts(one, two, reward):
    """The verdicts of both engines."""
    one.evaluate()
    two.evaluate()
    torch.testing.assert_close(one.reward(), two.reward(), atol=reward, rtol=0)
    assert torch.equal(one.terminated(), two.terminated())
