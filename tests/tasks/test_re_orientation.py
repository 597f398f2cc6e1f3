"""ShadowHandReOrientation against its specification: widths, every index of the state, starts, rewards, goals, ends."""

import math

import numpy as np
import pytest
import torch
from support.hand_checks import (
    check_every_index,
    check_start_renders,
    check_step,
    check_verdicts,
    on_both_engines,
    random_actions,
)
from support.hand_reference import SIDES, goal_of, hand_block, labeled, matrix, random_quats, state_of, throw_block
from support.marks import needs_warp

from harl_isaac.check_env import check_env
from harl_isaac.env import Box
from harl_isaac.tasks.hands.re_orientation import ShadowHandReOrientation, ShadowHandReOrientationCfg
from harl_isaac.tasks.hands.signals import Pose

CPU = torch.device("cpu")
BLOCK = 187
STARTS = {"object": (0.0, -0.39, 0.60), "second object": (0.0, -0.76, 0.60)}
GOALS = {"goal": (0.0, -0.39, 0.56), "second goal": (0.0, -0.76, 0.56)}
BOTH = list(zip(STARTS, GOALS))


def make(num_envs=4, sim="mujoco", **settings):
    return ShadowHandReOrientation(ShadowHandReOrientationCfg(**settings), num_envs, CPU, sim)


def test_widths():
    env = make(1)
    assert env.spec.obs_sizes == (235, 235) and env.spec.state_size == 422
    assert env.spec.actions == (Box(20), Box(20)) and env.spec.max_episode_steps == 600
    assert make(1, agents="fingers").spec.actions == tuple(map(Box, [2, 3, 3, 3, 4, 5] * 2))
    assert [block.width for block in env.tail] == [7, 6, 7, 4] * 2 and env.base is None


def expected_state(env, row):
    model = env.physics.model
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(SIDES, env.action[row].double().numpy().reshape(2, 20)):
        parts += hand_block(model, data, side, last_action)
    for body, goal in BOTH:
        parts += throw_block(model, data, body, goal_of(env, goal, row))
    return labeled(parts)


def test_every_index_of_the_state():
    env = make(8)
    check_every_index(env, random_actions(env, 30, 1), lambda row: expected_state(env, row))


def test_starts():
    env = make(64)
    env.reset(0)
    offsets = [env.signals.pose(body).pos - torch.tensor(start) for body, start in STARTS.items()]
    assert 0.009 < float(offsets[0].abs().max()) <= 0.01 + 1e-6
    assert torch.allclose(*offsets, atol=1e-6)
    quats = [env.signals.pose(body).quat for body in STARTS]
    assert torch.equal(*quats) and float(quats[0].std()) > 0.3
    for goal, end in GOALS.items():
        assert torch.allclose(env.goals[goal].pos, torch.tensor(end).expand(64, 3))
    assert torch.equal(env.goals["goal"].quat, env.goals["second goal"].quat)
    joints = env.physics.qpos[:, env._joints]
    assert bool(joints.any()) and not env.physics.qvel.any()
    assert not env.verdict(env.signals).failed.any()


def test_cubes_come_to_rest_in_the_hands():
    """Dropped with the hands still and straight: at the end of a second most lie, and none was thrown out."""
    env = make(16, joint_noise=0.0)
    env.reset(3)
    fastest = 0.0
    for _ in range(60):
        env.physics.step()
        fastest = max(fastest, float(env.signals.velocity("object")[0].abs().max()))
    assert fastest < 2.0  # [m/s] of a fall
    heights = torch.stack([env.signals.pose(body).pos[:, 2] for body in STARTS])
    speeds = torch.stack([env.signals.velocity(body)[0].norm(dim=1) for body in STARTS])
    assert float(((heights > 0.4) & (speeds < 0.02)).float().mean()) > 0.7


def test_a_reset_leaves_other_rows_alone():
    env = make(6)
    env.reset(0)
    for action in random_actions(env, 3, 4):
        env.step(action)
    before = [env.physics.qpos.clone(), env.physics.qvel.clone(), env.goals["goal"].quat.clone()]
    mask = torch.tensor([True, False] * 3)
    env.reset_rows(mask)
    for old, new in zip(before, (env.physics.qpos, env.physics.qvel, env.goals["goal"].quat)):
        assert torch.equal(old[~mask], new[~mask]) and not torch.equal(old[mask], new[mask])


@pytest.mark.parametrize("compat", ["fixed", "original"])
def test_the_contract(compat):
    check_env(lambda: make(3, compat=compat, episode_length=7), steps=40)


def test_the_start_scene_renders(tmp_path):
    check_start_renders(make(1), tmp_path)


class Values:
    """Poses and goals at random; the cubes' angles from their goals from close to far."""

    def __init__(self, rows, seed):
        random = torch.Generator().manual_seed(seed)
        self.action = 2.0 * torch.rand(rows, 40, generator=random) - 1.0
        self.poses = {}
        self.goals = {}
        for number, (body, goal) in enumerate(BOTH):
            quat = random_quats(rows, seed + number)
            near = quat + 0.05 * torch.randn(rows, 4, generator=random)
            self.goals[goal] = Pose(torch.tensor(GOALS[goal]).expand(rows, 3), quat)
            heights = 0.3 * torch.randn(rows, 3, generator=random) * torch.tensor([0.1, 0.1, 1.0])
            self.poses[body] = Pose(self.goals[goal].pos + heights, near / near.norm(dim=1, keepdim=True))
        self.pose = self.poses.__getitem__
        self.goal = self.goals.__getitem__

    def literal(self, row, both):
        reward = -0.0002 * sum(each * each for each in self.action[row].double().tolist())
        turned = []
        low = False
        for body, goal in BOTH:
            pos, quat = (part[row].double().numpy() for part in self.poses[body])
            goal_pos, goal_quat = (part[row].double().numpy() for part in self.goals[goal])
            trace = np.trace(matrix(quat) @ matrix(goal_quat).T)
            theta = math.acos(max(-1.0, min(1.0, (trace - 1.0) / 2.0)))
            reward += 1.0 / (theta + 0.1) - 10.0 * math.dist(pos, goal_pos)
            turned.append(theta < 0.1)
            low = low or pos[2] <= 0.2
        reached = all(turned) if both else turned[1]
        return reward + 500.0 * reached, reached, low


@pytest.mark.parametrize("compat, both", [("fixed", True), ("original", False)])
def test_the_verdict_is_the_literal_one(compat, both):
    env = make(400, compat=compat)
    env.reset(0)
    values = Values(400, 5)
    goals = env.goals["goal"].quat.clone()
    env.signals = values
    env.evaluate()
    counts = [0, 0]
    for row in range(400):
        reward, reached, low = values.literal(row, both)
        assert float(env.reward()[row]) == pytest.approx(reward, rel=1e-3, abs=1e-3)
        assert (bool(env.succeeded()[row]), bool(env.terminated()[row])) == (reached, low)
        new = not torch.equal(env.goals["goal"].quat[row], goals[row])
        assert new == reached
        counts = [counts[0] + reached, counts[1] + low]
    assert all(10 < count < 390 for count in counts)
    assert torch.equal(env.goals["goal"].quat, env.goals["second goal"].quat)


def test_a_goal_that_is_reached_is_paid_once_and_renewed():
    """In row 0; the step's observation is of the old goal, the next one of the new, and the mark is turned."""
    env = make(2, joint_noise=0.0, position_noise=0.0)
    env.reset(1)
    for body, goal in BOTH:
        env.goals[goal].quat[0] = env.signals.pose(body).quat[0]
    old = env.goals["goal"].quat.clone()
    still = (torch.zeros(2, 20),) * 2
    step = env.step(still)
    assert step.reward[0, 0] > 500.0 > step.reward[1, 0] and step.metrics["success"].tolist() == [1.0, 0.0]
    assert not step.done.any()
    columns = slice(2 * BLOCK + 16, 2 * BLOCK + 20)
    assert torch.equal(step.state[:, 0, columns], old)
    new = env.goals["goal"].quat
    assert torch.equal(new[1], old[1]) and not torch.allclose(new[0], old[0])
    assert torch.equal(env.physics.mocap_quat[:, 0], new.roll(1, dims=1))
    step = env.step(still)
    assert step.reward[0, 0] < 500.0 and step.metrics["success"].tolist() == [1.0, 0.0]
    assert torch.equal(step.state[:, 0, columns], new)


def test_new_goals_are_resumed():
    env = make(2, joint_noise=0.0)
    env.reset(1)
    saved = env.state_dict()
    traces = []
    for again in (env, make(2, joint_noise=0.0)):
        again.load_state_dict(saved)
        for body, goal in BOTH:
            again.goals[goal].quat.copy_(again.signals.pose(body).quat)
        again.step((torch.zeros(2, 20),) * 2)
        traces.append(again.goals["goal"].quat.clone())
    assert torch.equal(*traces)


@needs_warp
def test_engines_agree_step_by_step():
    """From the same states, as the cubes fall on the palms: one control step, every environment."""
    one, two = on_both_engines(lambda sim: make(3, sim))
    for _ in range(7):
        one.physics.step()
    for action in random_actions(one, 4, 3):
        check_step(one, two, action, position=2e-4, speed=5e-2)
        check_verdicts(one, two, reward=5e-3)
