"""The table tasks against their specification: widths, every index of the state, starts, rewards, ends, engines."""

import math

import numpy as np
import pytest
import torch
from support.hand_checks import (
    FREE_BLOCK,
    check_every_index,
    check_reset_leaves_other_rows_alone,
    check_start_renders,
    check_step,
    check_verdicts,
    check_widths,
    make_task,
    on_both_engines,
    random_actions,
)
from support.hand_reference import (
    DIGITS,
    SIDES,
    base_of,
    body_block,
    hand_block,
    labeled,
    place,
    product,
    state_of,
    xyzw,
)
from support.marks import needs_warp

from harl_isaac.check_env import check_env
from harl_isaac.tasks.hands.signals import Pose

POSE = [("object pose", 7), ("object velocity", 6)]
# Episode, force [N] and torque [Nm] of the base, tail, the points of right and left hand with their places [m] and
# sums of the fingertips' distances [m] at the start, of the pot's the palms' distances. Where an object starts clear of
# its table (pen 13 mm, scissors 9 mm, blocks to push 25 mm, bucket 53 mm, pot 15 mm above the originals' start) these
# are of the raised points. From the originals' places they are 1.178 for the bucket and 0.139 for the pot.
SPECS = {
    "ShadowHandPen": (
        (125, 833.333, 1.66667),
        [*POSE, ("cap", 3), ("barrel", 3)],
        {"cap": ((0, 0.10, 0.613), 1.191), "barrel": ((0, -0.07, 0.613), 1.333)},
    ),
    "ShadowHandScissors": (
        (150, 833.333, 1.66667),
        [*POSE, ("right grip", 3), ("left grip", 3)],
        {"right grip": ((0.152, -0.032, 0.609), 1.503), "left grip": ((0.150, -0.100, 0.609), 1.225)},
    ),
    "ShadowHandBlockStack": (
        (250, 333.333, 0.333333),
        [*POSE, ("block pose", 7), ("block velocity", 6), ("padding", 4)],
        {"right block": ((0, 0.1, 0.625), 0.539), "left block": ((0, -0.1, 0.625), 0.540)},
    ),
    "ShadowHandPushBlock": (
        (125, 833.333, 1.66667),
        [*POSE, ("right block", 3), ("left block", 3), ("left goal", 3), ("right goal", 3), ("padding", 5)],
        {"right block": ((0, 0.2, 0.625), 1.067), "left block": ((0, -0.2, 0.625), 1.067)},
    ),
    "ShadowHandGraspAndPlace": (
        (500, 833.333, 1.66667),
        [*POSE, ("bucket", 3), ("object orientation", 4), ("left block", 3), ("block orientation", 4)],
        {"bucket": ((0, 0.2, 0.653), 0.948), "left block": ((0, -0.2, 0.625), 1.067)},
    ),
    "ShadowHandLiftUnderarm": (
        (500, 416.667, 16.6667),
        [*POSE, ("right handle", 3), ("left handle", 3)],
        {"right handle": ((0, -0.45, 0.525), 0.145), "left handle": ((0, -0.75, 0.525), 0.145)},
    ),
}
TAILS = {"Pen": 19, "Scissors": 19, "BlockStack": 30, "PushBlock": 30, "GraspAndPlace": 27, "LiftUnderarm": 19}
NAMES = sorted(SPECS)
each_task = pytest.mark.parametrize("name", NAMES)


@each_task
def test_widths(name):
    numbers, tail, _ = SPECS[name]
    assert check_widths(name, numbers, tail) == TAILS[name[len("ShadowHand") :]]


# Observations


# The originals' local points are along their links' axes: x and z of the scissors' links are the world's x and -y.
POINTS = {
    "cap": ("cap", (0, 0, -0.10)),
    "barrel": ("object", (0, 0, 0.07)),
    "right grip": ("right half", (0.1, -0.2, 0)),
    "left grip": ("object", (-0.1, -0.15, 0)),
    "right block": ("object",),
    "left block": ("block",),
    "bucket": ("object",),
    "right handle": ("object", (0, 0.15, 0.06)),
    "left handle": ("object", (0, -0.15, 0.06)),
}
# Of the bucket's link, Rz(-90 degrees) Rx(90 degrees) in its body; of the block.
TURNS = {
    "object orientation": product((0, 0, -math.sqrt(0.5), math.sqrt(0.5)), (math.sqrt(0.5), 0, 0, math.sqrt(0.5))),
    "block orientation": np.array([0.0, 0.0, 0.0, 1.0]),
}
GOALS = {"left goal": (-0.2, -0.2, 0.625), "right goal": (-0.2, 0.2, 0.625)}


def expected_state(model, env, row, tail):
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(SIDES, env.action[row].double().numpy().reshape(2, 26)):
        parts += hand_block(model, data, side, last_action, base_of(env, model, data, side, "palm"))
    for block, width in tail:
        if block.endswith("pose"):
            parts += body_block(model, data, block.split()[0])
        elif block in POINTS:
            parts.append((block, place(data, *POINTS[block])))
        elif block in TURNS:
            parts.append((block, product(xyzw(data.body(block.split()[0]).xquat), TURNS[block])))
        elif not block.endswith("velocity"):
            parts.append((block, GOALS.get(block, (0.0,) * width)))
    return labeled(parts)


@each_task
def test_every_index_of_the_state(name):
    """In states that random play reaches."""
    env = make_task(name, 8, joint_noise=0.2)
    model = env.physics.model
    check_every_index(env, random_actions(env, 4, 1), lambda row: expected_state(model, env, row, SPECS[name][1]))


# Starts


def nearness(env, side, point):
    """Sum of the fingertips' distances, or the palm's from the pot's handle."""
    if hasattr(env, "reach"):
        return env.reach(env.signals, side, point)
    return (env.signals.point(f"{side} palm") - env.signals.point(point)).norm(dim=1)


@each_task
@pytest.mark.parametrize("compat", ["fixed", "original"])
def test_starts(name, compat):
    """Places and sums within 2 mm; hands straight; nothing in touch moves when left alone."""
    env = make_task(name, 4, compat=compat)
    env.reset(0)
    for side, (point, (where, total)) in zip(SIDES, SPECS[name][2].items()):
        assert torch.allclose(env.signals.point(point), torch.tensor(where).float().expand(4, 3), atol=2e-3)
        assert nearness(env, side, point) == pytest.approx(torch.full((4,), total), abs=2e-3)
    assert not env.physics.qpos[:, env._joints].any() and not env.physics.qvel.any()
    start = env.signals.pose("object").pos.clone()
    for _ in range(30):
        env.physics.step()
    assert float((env.signals.pose("object").pos - start).abs().max()) < 2e-3
    assert float(env.signals.velocity("object")[0].abs().max()) < 1e-3
    assert env.verdict(env.signals).success.sum() == 0


@each_task
def test_the_original_mode_has_the_originals_angles(name):
    env = make_task(name, 1, compat="original")
    first = FREE_BLOCK - 29
    mount = env.mounts[0].euler
    angles = env.reset(0).state[0, 0, first : first + 3]
    if name != "ShadowHandBlockStack":
        assert angles.tolist() == pytest.approx([min(each % (2 * math.pi), 5.0) for each in mount], abs=1e-3)
    assert bool((angles >= 0).all())


@each_task
def test_a_reset_leaves_other_rows_alone(name):
    check_reset_leaves_other_rows_alone(make_task(name, 6))


@each_task
@pytest.mark.parametrize("compat", ["fixed", "original"])
def test_the_contract(name, compat):
    check_env(lambda: make_task(name, 3, compat=compat, episode_length=7), steps=40)


@each_task
def test_the_start_scene_renders(name, tmp_path):
    check_start_renders(make_task(name, 1), tmp_path)


# Rewards and ends


class Values:
    """Named values at random, as a verdict reads them; tips from close to far."""

    def __init__(self, points, rows, seed, spread=0.08):
        random = torch.Generator().manual_seed(seed)
        self.points = {}
        for side, (name, (where, _)) in zip(SIDES, points.items()):
            places = torch.tensor(where).float() + spread * torch.randn(rows, 3, generator=random)
            self.points[name] = places
            reach = 0.4 * torch.rand(rows, 1, generator=random)
            for digit in DIGITS:
                way = torch.randn(rows, 3, generator=random)
                self.points[f"{side} {digit}distal"] = places + reach * way / way.norm(dim=1, keepdim=True)
        self.hinge = -0.597 + 0.997 * torch.rand(rows, generator=random)
        self.goals = {
            name: Pose(torch.tensor(pos).expand(rows, 3), torch.zeros(rows, 4)) for name, pos in GOALS.items()
        }
        self.point = self.points.__getitem__
        self.goal = self.goals.__getitem__

    def joint(self, name):
        assert name == "hinge"
        return self.hinge

    def literal(self, row):
        """Points in one row, and the sums of right and left hand."""
        points = {name: value[row].double().tolist() for name, value in self.points.items()}
        own = list(points)[0], list(points)[6]
        sums = [
            sum(math.dist(points[f"{side} {digit}distal"], points[name]) for digit in DIGITS)
            for side, name in zip(SIDES, own)
        ]
        return points, sums


def literal_pen(values, row):
    points, (right, left) = values.literal(row)
    gap = math.dist(points["cap"], points["barrel"])
    bonus = 5 * gap - 0.8 if right < 0.75 and left < 0.75 else 0.0
    return math.exp(-10 * right) + math.exp(-10 * left) + bonus, gap > 0.3, right >= 1.5 or left >= 1.5


def literal_scissors(values, row):
    _, (right, left) = values.literal(row)
    hinge = float(values.hinge[row])
    bonus = 5 * (0.59 + hinge) if right < 0.7 and left < 0.7 else 0.0
    return 2 - right - left + bonus, hinge > -0.3, right >= 1.75 or left >= 1.75


def literal_stack(values, row):
    points, (right, left) = values.literal(row)
    upper = math.dist(points["left block"], (0, 0, 0.675))
    lower = math.dist(points["right block"], (0, 0, 0.625))
    reward = 1.5 - right - left
    if right < 0.5 and left < 0.5:
        reward += 2 * (0.24 - upper - lower)
    stacked = 50 * (0.05 - abs(0.675 - points["left block"][2])) if upper < 0.07 and lower < 0.07 else 0.0
    return reward + stacked, stacked > 1, right >= 0.75 or left >= 0.75


def literal_push(values, row, right_goal=(-0.2, 0.2, 0.625)):
    points, (right, left) = values.literal(row)
    far_left = math.dist(points["left block"], (-0.2, -0.2, 0.625))
    far_right = math.dist(points["right block"], right_goal)
    reward = (1.2 - right) + (1.2 - left) + 5 - 5 * far_left - 5 * far_right
    return reward, far_left <= 0.1 and far_right <= 0.1, right >= 1.2 or left >= 1.2


def literal_place(values, row, within=0.05):
    points, (right, left) = values.literal(row)
    apart = math.dist(points["bucket"], points["left block"])
    reward = math.exp(-10 * right) + math.exp(-10 * left) + 2 * math.exp(-10 * apart)
    return reward, apart < within, right >= 1.5 or left >= 1.5


# The literal version, and places of the points around which values are drawn.
LITERAL = {
    "ShadowHandPen": (literal_pen, [(0, 0.12, 0.6), (0, -0.12, 0.6)]),
    "ShadowHandScissors": (literal_scissors, [(0, 0.1, 0.6), (0, -0.1, 0.6)]),
    "ShadowHandBlockStack": (literal_stack, [(0, 0, 0.625), (0, 0, 0.675)]),
    "ShadowHandPushBlock": (literal_push, [(-0.2, 0.2, 0.625), (-0.2, -0.2, 0.625)]),
    "ShadowHandGraspAndPlace": (literal_place, [(0, 0.1, 0.65), (0, 0.1, 0.67)]),
}
SPREADS = {"ShadowHandBlockStack": 0.03, "ShadowHandGraspAndPlace": 0.05}


def compare(verdict, literals):
    """Equality of a verdict and its literal version in all rows; how many succeed and fail."""
    for row, (reward, success, failed) in enumerate(literals):
        assert float(verdict.reward[row]) == pytest.approx(reward, rel=1e-4, abs=1e-5)
        assert (bool(verdict.success[row]), bool(verdict.failed[row])) == (success, failed)
    assert all(10 < sum(each) < 390 for each in list(zip(*literals))[1:])


@pytest.mark.parametrize("name", sorted(LITERAL))
def test_verdicts_are_the_literal_ones(name):
    literal, places = LITERAL[name]
    points = {point: (where, 0) for point, where in zip(SPECS[name][2], places)}
    values = Values(points, 400, 0, spread=SPREADS.get(name, 0.08))
    compare(make_task(name, 1).verdict(values), [literal(values, row) for row in range(400)])


@pytest.mark.parametrize("compat", ["fixed", "original"])
def test_the_original_mode_pushes_both_blocks_to_the_left_goal(compat):
    env = make_task("ShadowHandPushBlock", 1, compat=compat)
    own = (-0.2, 0.2, 0.625) if compat == "fixed" else (-0.2, -0.2, 0.625)
    values = Values({"right block": (own, 0), "left block": ((-0.2, -0.2, 0.625), 0)}, 400, 3)
    env.signals = values
    env.evaluate()
    compare(env._verdict, [literal_push(values, row, own) for row in range(400)])


@pytest.mark.parametrize("compat, within", [("fixed", 0.05), ("original", 0.2)])
def test_a_block_near_the_bucket_is_placed_in_the_original_mode_only(compat, within):
    env = make_task("ShadowHandGraspAndPlace", 1, compat=compat)
    values = Values({"bucket": ((0, 0.1, 0.65), 0), "left block": ((0, 0.2, 0.65), 0)}, 400, 3, spread=0.05)
    env.signals = values
    env.evaluate()
    compare(env._verdict, [literal_place(values, row, within) for row in range(400)])


@pytest.mark.parametrize("compat", ["fixed", "original"])
def test_a_block_beside_the_bucket_is_not_in_it(compat):
    """It touches the bucket, and comes to rest there."""
    env = make_task("ShadowHandGraspAndPlace", 1, compat=compat)
    env.reset(0)
    qpos = env.physics.qpos.clone()
    qpos[:, env.signals.columns("block")] = torch.tensor([0.0, 0.128, 0.625, 1.0, 0.0, 0.0, 0.0])
    env.physics.set_state(torch.ones(1, dtype=torch.bool), qpos, torch.zeros_like(env.physics.qvel))
    for _ in range(30):
        env.physics.step()
    apart = (env.signals.point("bucket") - env.signals.point("left block")).norm(dim=1)
    assert 0.07 < float(apart) < 0.09 and float(env.physics.qvel.abs().max()) < 0.01
    env.evaluate()
    assert bool(env.succeeded()) == (compat == "original")


class Lifted:
    """Handles, palms and a pot at random."""

    def __init__(self, rows, seed):
        random = torch.Generator().manual_seed(seed)
        self.points = {}
        for side in SIDES:
            handle = torch.randn(rows, 3, generator=random)
            way = torch.randn(rows, 3, generator=random)
            reach = 0.22 * torch.rand(rows, 1, generator=random)
            self.points[f"{side} handle"] = handle
            self.points[f"{side} palm"] = handle + reach * way / way.norm(dim=1, keepdim=True)
        height = 0.25 + 0.65 * torch.rand(rows, generator=random)
        aside = 0.02 * torch.randn(rows, 2, generator=random)
        self.pot = Pose(torch.stack((aside[:, 0], aside[:, 1] - 0.6, height), dim=1), torch.zeros(rows, 4))
        self.point = self.points.__getitem__

    def pose(self, body):
        assert body == "object"
        return self.pot

    def literal(self, row):
        right, left = (
            math.dist(self.points[f"{side} palm"][row].tolist(), self.points[f"{side} handle"][row].tolist())
            for side in SIDES
        )
        pot = self.pot.pos[row].tolist()
        missing = math.dist(pot, (0, -0.6, 0.85))
        lifting = 3 * (0.385 - missing) if right < 0.08 and left < 0.08 else 0.0
        return 0.2 - right - left + lifting, missing < 0.05, pot[2] <= 0.3 or right >= 0.2 or left >= 0.2


def test_the_verdict_on_lifting_is_the_literal_one():
    values = Lifted(400, 0)
    compare(make_task("ShadowHandLiftUnderarm", 1).verdict(values), [values.literal(row) for row in range(400)])


# Engines


@needs_warp
@each_task
def test_engines_agree_step_by_step(name):
    """From the same states, with contacts and pushes: one control step, every environment."""
    one, two = on_both_engines(lambda sim: make_task(name, 3, sim, joint_noise=0.2))
    for action in random_actions(one, 4, 3):
        check_step(one, two, action)
        check_verdicts(one, two, reward=2e-3)
