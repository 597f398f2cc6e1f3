"""The catch tasks against their specification: widths, every index of the state, starts, rewards, ends, engines."""

import math

import pytest
import torch
from support.hand_checks import (
    check_every_index,
    check_start_renders,
    check_step,
    check_verdicts,
    make_task,
    on_both_engines,
    random_actions,
)
from support.hand_reference import (
    SIDES,
    base_of,
    goal_of,
    hand_block,
    labeled,
    literal_closeness,
    random_quats,
    state_of,
    throw_block,
)
from support.marks import needs_warp

from harl_isaac.env import Box
from harl_isaac.tasks.hands.signals import Pose

UNDERARM = (0.0, 0.0, 0.5), (0.0, -1.15, 0.5)
ABREAST = (0.0, -0.55, 0.5), (0.0, -1.15, 0.5)
# Episode, roots of the hands, (start, goal) of each object, greatest start noise (object [m], joints), [N], [Nm].
SPECS = {
    "ShadowHandCatchUnderarm": (75, UNDERARM, [((0, -0.39, 0.54), (0, -0.79, 0.54))], 0.01, 0.2, 83.3333, 8.33333),
    "ShadowHandCatchAbreast": (150, ABREAST, [((-0.39, -0.55, 0.54), (-0.39, -1.15, 0.54))], 0, 0, 833.333, 16.6667),
    "ShadowHandCatchOver2Underarm": (
        75,
        ((0.0, 0.0, 0.5), (0.0, -0.8, 0.5)),
        [((0, 0.05, 1.0), (0, -0.40, 0.55))],
        0,
        0,
        166.667,
        33.3333,
    ),
    "ShadowHandTwoCatchUnderarm": (
        75,
        UNDERARM,
        [((0, -0.39, 0.54), (0, -0.79, 0.54)), ((0, -0.78, 0.54), (0, -0.38, 0.54))],
        0.01,
        0.2,
        83.3333,
        8.33333,
    ),
}
NAMES = sorted(SPECS)
BLOCK = 199
each_task = pytest.mark.parametrize("name", NAMES)


@each_task
def test_widths(name):
    episode, _, objects, _, _, force, torque = SPECS[name]
    env = make_task(name, 1)
    tail = 24 * len(objects)
    assert env.spec.obs_sizes == (BLOCK + tail,) * 2 and env.spec.state_size == 2 * BLOCK + tail
    assert env.spec.actions == (Box(26), Box(26)) and env.spec.max_episode_steps == episode
    assert make_task(name, 1, agents="fingers").spec.actions == tuple(map(Box, [8, 3, 3, 3, 4, 5] * 2))
    assert env.base == pytest.approx((force, torque), rel=1e-5)
    blocks = [(block.name, len(block.columns)) for block in env._table.blocks]
    assert blocks == [
        ("joint angles", 24),
        ("joint velocities", 24),
        ("joint torques", 24),
        ("fingertips", 65),
        ("forces on fingertips", 30),
        ("base position", 3),
        ("base angles", 3),
        ("last action", 26),
    ]
    assert [block.width for block in env.tail] == [7, 6, 7, 4] * len(objects)


# Observations


def expected_state(model, env, row):
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(SIDES, env.action[row].double().numpy().reshape(2, 26)):
        parts += hand_block(model, data, side, last_action, base_of(env, model, data, side))
    for throw in env.throws:
        parts += throw_block(model, data, throw.object, goal_of(env, throw.goal, row))
    return labeled(parts)


@each_task
def test_every_index_of_the_state(name):
    """In states that random play reaches, but for an episode's end."""
    env = make_task(name, 8, joint_noise=0.2, position_noise=0.01)
    check_every_index(env, random_actions(env, 4, 1), lambda row: expected_state(env.physics.model, env, row))


# Starts


@each_task
def test_starts(name):
    _, roots, objects, noise, joint_noise, _, _ = SPECS[name]
    env = make_task(name, 64)
    state = env.reset(0).state[:, 0]
    for side, root in enumerate(roots):
        first = side * BLOCK + 167
        assert torch.allclose(state[:, first : first + 6], torch.tensor([*root, 0.0, 0.0, 0.0]), atol=2e-3)
    offsets = []
    for throw, (start, goal) in zip(env.throws, objects):
        pose = env.signals.pose(throw.object)
        offsets.append(pose.pos - torch.tensor(start))
        assert float(offsets[-1].abs().max()) <= noise + 1e-6
        assert noise == 0 or float(offsets[-1].abs().max()) > 0.9 * noise
        assert torch.allclose(env.goals[throw.goal].pos, torch.tensor(goal).expand(64, 3), atol=1e-6)
        assert float(pose.quat.std()) > 0.3 and float(env.goals[throw.goal].quat.std()) > 0.3
        assert torch.equal(pose.quat, env.signals.pose("object").quat)  # all objects alike
        assert torch.equal(env.goals[throw.goal].quat, env.goals["goal"].quat)
        assert torch.allclose(offsets[0], offsets[-1], atol=1e-6)
    joints = env.physics.qpos[:, env._joints]
    assert bool(joints.any()) == (joint_noise > 0)
    assert [env.physics.model.body(i).name for i in range(env.physics.model.nbody)].count("second object") == len(
        objects
    ) - 1


def test_the_original_mode_starts_both_hands_alike():
    env = make_task("ShadowHandCatchUnderarm", 8, compat="original")
    env.reset(0)
    joints = env.physics.qpos[:, env._joints]
    assert torch.equal(joints[:, :24], joints[:, 24:])


@each_task
def test_the_start_scene_renders(name, tmp_path):
    check_start_renders(make_task(name, 1), tmp_path)


# Rewards and ends


class Values:
    """Named values at random, as a verdict reads them."""

    def __init__(self, throws, leashes, rows, seed):
        self.random = torch.Generator().manual_seed(seed)
        self.poses = {}
        self.goals = {}
        for number, throw in enumerate(throws):
            goal = Pose(self.near(torch.tensor(throw.end), rows, 0.2), random_quats(rows, 10 + number))
            scale = torch.logspace(-3, -0.5, rows)[:, None]
            self.goals[throw.goal] = goal
            self.poses[throw.object] = Pose(self.near(goal.pos, rows, scale), random_quats(rows, 20 + number))
        self.points = {name: self.near(torch.tensor(place), rows, 0.04) for name, place in leashes}
        self.pose = self.poses.__getitem__
        self.goal = self.goals.__getitem__
        self.point = self.points.__getitem__

    def near(self, pos, rows, spread):
        return pos + spread * torch.randn(rows, 3, generator=self.random)


# Scale of the distance, height of the drop, and what must stay within 0.1 m of where.
ENDS = {
    "ShadowHandCatchUnderarm": (50.0, 0.1, {}),
    "ShadowHandCatchAbreast": (
        50.0,
        0.2,
        {"right palm frame": (-0.3, -0.55, 0.5), "left palm frame": (-0.3, -1.15, 0.5)},
    ),
    "ShadowHandCatchOver2Underarm": (20.0, 0.3, {"right root": (0, 0, 0.5), "left root": (0, -0.8, 0.5)}),
    "ShadowHandTwoCatchUnderarm": (50.0, 0.2, {}),
}


@each_task
def test_verdicts_are_the_literal_ones(name):
    scale, drop, leashes = ENDS[name]
    env = make_task(name, 1)
    values = Values(env.throws, env.leashes, 300, 0)
    verdict = env.verdict(values)
    counts = [0, 0]
    for row in range(300):
        pairs = [(values.pose(each.object), values.goal(each.goal)) for each in env.throws]
        literal = [[part[row].double().tolist() for pose in pair for part in pose] for pair in pairs]
        reward = sum(literal_closeness(*each, scale) for each in literal)
        distance = sum(math.dist(each[0], each[2]) for each in literal)
        failed = any(each[0][2] <= drop for each in literal) or any(
            math.dist(values.point(point)[row].tolist(), place) > 0.1 for point, place in leashes.items()
        )
        assert float(verdict.reward[row]) == pytest.approx(reward, rel=1e-3, abs=1e-6)
        assert bool(verdict.success[row]) == (distance < 0.03 * len(literal))
        assert bool(verdict.failed[row]) == failed
        counts = [counts[0] + (distance < 0.03 * len(literal)), counts[1] + failed]
    assert all(10 < count < 290 for count in counts)


@pytest.mark.parametrize("name", ["ShadowHandCatchAbreast", "ShadowHandCatchOver2Underarm"])
def test_a_hand_that_drifts_ends_the_episode(name):
    """Row 0 stays; rows 1 and 2 push one hand away. Objects do not fall: they are held at their start."""
    env = make_task(name, 3)
    env.reset(0)
    ended = torch.full((3,), 99)
    for number in range(30):
        action = torch.zeros(3, 2, 26)
        action[1, 0, 0] = 1.0
        action[2, 1, 2] = 1.0
        qpos = env.physics.qpos.clone()
        qpos[:, env.signals.columns("object")] = torch.tensor([3.0, 3.0, 3.0, 1.0, 0.0, 0.0, 0.0])
        env.physics.set_state(torch.ones(3, dtype=torch.bool), qpos, env.physics.qvel)
        step = env.step(tuple(action.unbind(1)))
        ended = torch.where(step.terminated, ended.clamp(max=number), ended)
    fast = env.base.force / 501.1 / 60.0  # [m] in a step
    assert ended[0] == 99 and all(0 < each <= 0.15 / fast + 4 for each in ended[1:].tolist())


# Engines


@needs_warp
@each_task
def test_engines_agree_step_by_step(name):
    """From the same states, with contacts and pushes: one control step, every environment."""
    one, two = on_both_engines(lambda sim: make_task(name, 3, sim, joint_noise=0.2))
    for action in random_actions(one, 5, 3):
        check_step(one, two, action)
        first = one.observe()[1]
        second = two.observe()[1]
        torch.testing.assert_close(first[..., 167:173], second[..., 167:173], atol=1e-4, rtol=0)
        check_verdicts(one, two, reward=1e-4)
