"""Switches and vessels against their specification: widths, every index of the state, starts, verdicts, engines."""

import math

import pytest
import torch
from support.hand_checks import (
    check_every_index,
    check_reset_leaves_other_rows_alone,
    check_start_renders,
    check_step,
    check_verdicts,
    check_widths,
    make_task,
    on_both_engines,
    random_actions,
    recompute,
)
from support.hand_reference import DIGITS, SIDES, base_of, body_block, hand_block, labeled, place, state_of
from support.marks import needs_warp

from harl_isaac.check_env import check_env
from harl_isaac.tasks.hands.quaternions import quat_mul, rotate, rotation_angle
from harl_isaac.tasks.hands.signals import Pose
from harl_isaac.tasks.hands.swing_cup import AROUND

POSE = [("object pose", 7), ("object velocity", 6)]
# Episode, force [N] and torque [Nm] of the base, tail, and by point: its place [m] and the sum [m] of the distances of
# the fingertips of a hand to it at the start.
SPECS = {
    "ShadowHandSwitch": (
        (125, 833.333, 1.66667),
        [("switch", 13), ("right lever", 3), ("left lever", 3)],
        {"right lever": ((0.031, 0.2, 0.6917), "right", 0.716), "left lever": ((0.031, -0.2, 0.6917), "left", 0.716)},
    ),
    "ShadowHandSwingCup": (
        (300, 166.667, 1.66667),
        [*POSE, ("right handle", 3), ("left handle", 3)],
        {"right handle": ((0, 0.062, 0.6842), "right", 1.1625), "left handle": ((0, -0.06, 0.6842), "left", 1.056)},
    ),
    "ShadowHandBottleCap": (
        (125, 166.667, 1.66667),
        [*POSE, ("bottle", 3), ("neck", 3), ("cap", 3)],
        {
            "bottle": ((0, -0.6, 0.5), "left", 0.623),
            "neck": ((-0.0966, -0.6, 0.6147), "right", 0.8055),
            "cap": ((-0.0057, -0.607, 0.4952), "right", 1.18),
        },
    ),
    "ShadowHandKettle": (
        (125, 833.333, 1.66667),
        [*POSE, ("handle", 3), ("bucket", 3)],
        {"handle": ((0, 0.15, 0.4737), "right", 0.9237), "bucket": ((0, -0.3, 0.453), "left", 0.9577)},
    ),
}
# The same at the originals' places, with the specification's sums, where vessels here stand on their table: the cup
# 8.4 cm higher, kettle and bucket 2.6 and 4.7 cm lower, of which the point is 10 cm higher in `fixed`.
ORIGINALS = {
    "ShadowHandKettle": [((0, 0.15, 0.5), "right", 0.826), ((0, -0.3, 0.4), "left", 1.151)],
    "ShadowHandSwingCup": [((0, 0.062, 0.6), "right", 1.445), ((0, -0.06, 0.6), "left", 1.296)],
}
# Bodies and offsets [m] of the points.
POINTS = {
    "right lever": ("right lever", (0.02, 0, 0)),
    "left lever": ("left lever", (0.02, 0, 0)),
    "right handle": ("object", (0.062, 0, 0)),
    "left handle": ("object", (-0.06, 0, 0)),
    "bottle": ("object",),
    "neck": ("object", (0, 0, 0.15)),
    "cap": ("cap slide", (-0.0075, -0.007, 0)),
    "handle": ("object", (0.15, 0, 0)),
    "bucket": ("bucket",),
}
CONSTANTS = {"switch": [0, 0.2, 0.65, math.cos(0.785), 0, -math.sin(0.785), 0] + [0] * 6}
# Forces of both bases, the left one's y reversed, that bring hands in touch with objects, and for how many steps first.
TOWARDS = {
    "ShadowHandSwitch": ((-0.3, 0.0, -1.0), 2),
    "ShadowHandSwingCup": ((0.3, -1.0, -0.7), 17),
    "ShadowHandBottleCap": ((0.0, 0.0, 0.0), 2),
    "ShadowHandKettle": ((-0.9, -0.4, -0.8), 4),
}
each_task = pytest.mark.parametrize("name", sorted(SPECS))
each_compat = pytest.mark.parametrize("compat", ["fixed", "original"])


def pushing(actions, force):
    """The actions, but for a given force of both bases, the left one's y reversed."""
    for action in actions:
        for hand, sign in zip(action, (1.0, -1.0)):
            hand[:, :3] = torch.tensor(force) * torch.tensor([1.0, sign, 1.0])
        yield action


@each_task
def test_widths(name):
    numbers, tail, _ = SPECS[name]
    assert check_widths(name, numbers, tail) == (22 if name == "ShadowHandBottleCap" else 19)


# Observations


def expected_state(model, env, row, tail):
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(SIDES, env.action[row].double().numpy().reshape(2, 26)):
        parts += hand_block(model, data, side, last_action, base_of(env, model, data, side, "palm"))
    for block, _ in tail:
        if block == "object pose":
            parts += body_block(model, data, "object")
        elif block in POINTS:
            parts.append((block, place(data, *POINTS[block])))
        elif block in CONSTANTS:
            parts.append((block, CONSTANTS[block]))
    return labeled(parts)


@each_task
def test_every_index_of_the_state(name):
    """In states that random play reaches."""
    env = make_task(name, 8, joint_noise=0.2)
    model = env.physics.model
    check_every_index(env, random_actions(env, 4, 1), lambda row: expected_state(model, env, row, SPECS[name][1]))


# Starts and resets


def hold(env, steps=30):
    """Step with the targets of the start; the greatest speed of what is not a hand."""
    first = 60  # degrees of freedom of two free hands
    worst = 0.0
    for _ in range(steps):
        env.physics.step()
        worst = max(worst, float(env.physics.qvel[:, first:].abs().max()))
    return worst


@each_compat
@each_task
def test_starts(name, compat):
    """Places and sums within 2 mm; what stands on a table is at rest when the hands hold still."""
    env = make_task(name, 2, compat=compat)
    env.reset(0)
    for point, (where, side, total) in SPECS[name][2].items():
        if point == "bucket" and compat == "original":
            continue
        assert torch.allclose(env.signals.point(point), torch.tensor(where).float().expand(2, 3), atol=2e-3), point
        assert env.reach(env.signals, side, point) == pytest.approx(torch.full((2,), total), abs=2e-3)
    assert not env.physics.qvel.any() and not env.verdict(env.signals).success.any()
    start = env.physics.qpos[:, 62:].clone()
    if name != "ShadowHandBottleCap":
        assert hold(env) < 0.01
        assert float((env.physics.qpos[:, 62:] - start).abs().max()) < 2e-3


@pytest.mark.parametrize("name", sorted(ORIGINALS))
def test_sums_at_the_originals_places(name):
    env = make_task(name, 1)
    env.reset(0)
    for where, side, total in ORIGINALS[name]:
        tips = torch.stack([env.signals.point(f"{side} {tip}")[0] for tip in env.hand.tips])
        assert float((tips - torch.tensor(where)).norm(dim=1).sum()) == pytest.approx(total, abs=2e-3)


@each_task
def test_a_reset_leaves_other_rows_alone(name):
    check_reset_leaves_other_rows_alone(make_task(name, 6))


@each_compat
@each_task
def test_the_contract(name, compat):
    check_env(lambda: make_task(name, 3, compat=compat, episode_length=7), steps=40)


@each_task
def test_the_start_scene_renders(name, tmp_path):
    check_start_renders(make_task(name, 1), tmp_path)


# Switches


def press(env, angle):
    """Turn both levers."""
    for lever in ("right lever", "left lever"):
        env.physics.qpos[:, env.signals.columns(lever)] = angle
    recompute(env)


@each_compat
def test_levers_lower_their_points_unless_as_in_the_original(compat):
    env = make_task("ShadowHandSwitch", 2, compat=compat)
    env.reset(0)
    press(env, torch.tensor([[0.4], [0.45]]))
    env.evaluate()
    assert env.succeeded().tolist() == [False, compat == "fixed"]
    press(env, 0.5585)
    height = 0.6917 + (-0.0106 if compat == "fixed" else 0.0106)
    assert env.signals.point("left lever")[:, 2] == pytest.approx(torch.full((2,), height), abs=2e-4)
    env.evaluate()
    assert env.succeeded().tolist() == [compat == "fixed"] * 2
    env.physics.qpos[1, env.signals.columns("left lever")] = math.nan
    env.reset_rows(torch.tensor([True, True]))
    kept = 0.0 if compat == "fixed" else 0.5585
    assert env.signals.joint("right lever") == pytest.approx(torch.full((2,), kept))
    assert env.physics.qpos.isfinite().all()


@pytest.mark.parametrize("hands, success", [((1.0, 1.0), True), ((1.0, 0.0), False)])
def test_straight_fingers_press_levers(hands, success):
    """A little forward, then down: both levers count, one does not."""
    env = make_task("ShadowHandSwitch", 1)
    env.reset(0)
    action = torch.zeros(2, 1, 26)
    action[..., 6:] = (-env._target_mid / env._target_half).view(2, 1, 20)
    succeeded = False
    for step in range(40):
        for hand, share in enumerate(hands):
            action[hand, :, :3] = share * torch.tensor([-0.7, 0.0, 0.0] if step < 2 else [0.0, 0.0, -0.3])
        env.step(tuple(action.unbind(0)))
        succeeded |= bool(env.succeeded())
    assert succeeded is success


# Bottle and cap


@each_compat
def test_the_hands_around_the_bottle(compat):
    env = make_task("ShadowHandBottleCap", 1, compat=compat)
    env.reset(0)
    s = env.signals
    for side in SIDES:
        thumb = [float(s.joint(f"{side}/robot0:THJ{number}")) for number in (4, 3, 2, 1, 0)]
        assert thumb == pytest.approx([-1.04, 1.2, 0.0, 0.0, -1.57], abs=2e-3)
    others = [joint for joint in env.hand.joints if not joint.startswith("TH")]
    assert not any(float(s.joint(f"left/robot0:{joint}")) for joint in others)
    assert float((s.point("bottle") - s.point("left palm")).norm()) == pytest.approx(0.049, abs=2e-3)
    assert float((s.point("cap") - s.point("bottle")).norm()) == pytest.approx(0.0103, abs=2e-4)
    with_noise = make_task("ShadowHandBottleCap", 64, joint_noise=0.3)
    with_noise.reset(0)
    angles = with_noise.physics.qpos[:, with_noise._joints]
    assert (angles >= with_noise._joint_low).all() and (angles <= with_noise._joint_high).all()
    assert (angles.std(0) > 0).all()


@pytest.mark.parametrize("slide, success", [(0.0278, False), (0.0286, True)])
def test_a_cap_counts_when_it_is_off_by_28_mm(slide, success):
    env = make_task("ShadowHandBottleCap", 1)
    env.reset(0)
    env.physics.qpos[:, env.signals.columns("cap slide")] = slide
    env.physics.qpos[:, env.signals.columns("cap turn")] = 1.0
    recompute(env)
    env.evaluate()
    assert bool(env.succeeded()) is success


def test_a_hand_that_closes_holds_the_bottle():
    """For a whole episode, though the cap is not off."""
    env = make_task("ShadowHandBottleCap", 1)
    env.reset(0)
    action = torch.zeros(2, 1, 26)
    action[..., 6:] = (-env._target_mid / env._target_half).view(2, 1, 20)
    for finger in (3, 6, 9, 13):
        action[1, :, 6 + finger : 8 + finger] = -0.82
    action[1, :, 21:] = torch.tensor([0.87, 0.88, 0.2, -0.87, 0.09])
    for _ in range(124):
        assert not env.step(tuple(action.unbind(0))).done.any()
    assert not env.succeeded().any()


# Kettle and bucket


def turned(axis, angle):
    """Quaternions xyzw of rotations about random axes [rows, 3] by angles [rows]."""
    axis = axis / axis.norm(dim=1, keepdim=True)
    return torch.cat((axis * (angle / 2).sin()[:, None], (angle / 2).cos()[:, None]), dim=1)


def test_the_buckets_point_is_below_it_in_the_original():
    env = make_task("ShadowHandKettle", 1, compat="original")
    env.reset(0)
    s = env.signals
    assert s.point("bucket")[0].tolist() == pytest.approx([0, -0.3, 0.353], abs=2e-3)
    assert s.point("spout")[0].tolist() == pytest.approx([0, -0.2, 0.544], abs=2e-3)


@pytest.mark.parametrize("tilt, below, success", [(1.3, 0.046, True), (1.3, 0.06, False)])
def test_a_spout_at_the_buckets_mouth_succeeds(tilt, below, success):
    """A tilted kettle above a bucket that stands upright: they need not touch."""
    env = make_task("ShadowHandKettle", 1)
    env.reset(0)
    s = env.signals
    everyone = torch.ones(1, dtype=torch.bool)
    pouring = quat_mul(s.pose("object").quat, turned(torch.tensor([[0.0, -1.0, 0.0]]), torch.tensor([tilt])))
    place = torch.tensor([[0.0, 0.0, 1.2]])
    mouth = place + rotate(pouring, torch.tensor([[-0.2, 0.0, 0.07]]))
    upright = torch.tensor([[1.0, 0.0, 0.0, 0.0]])
    env.physics.qpos[:, s.columns("object")] = torch.cat((place, pouring.roll(1, dims=1)), dim=1)
    env.physics.qpos[:, s.columns("bucket")] = torch.cat((mouth - torch.tensor([0.0, 0.0, below]), upright), dim=1)
    env.physics.set_state(everyone, env.physics.qpos, env.physics.qvel)
    env.physics.forward(everyone)
    env.evaluate()
    assert bool(env.succeeded()) is success
    assert state_of(env.physics.model, env, 0).ncon == 0


# Rewards and ends


class Values:
    """Points around given places, and fingertips of both hands from close to far from theirs."""

    def __init__(self, places, targets, rows=400, seed=0):
        random = torch.Generator().manual_seed(seed)
        self.points = {
            name: torch.tensor(where).float() + spread * torch.randn(rows, 3, generator=random)
            for name, (where, spread) in places.items()
        }
        self.targets = targets
        for side, target in zip(SIDES, targets):
            reach = 0.3 * torch.rand(rows, 1, generator=random)
            for digit in DIGITS:
                way = torch.randn(rows, 3, generator=random)
                way = reach * way / way.norm(dim=1, keepdim=True)
                self.points[f"{side} {digit}distal"] = self.points[target] + way
        self.point = self.points.__getitem__

    def literal(self, row):
        """Points in one row, and the sums of right and left hand."""
        points = {name: value[row].double().tolist() for name, value in self.points.items()}
        sums = [
            sum(math.dist(points[f"{side} {digit}distal"], points[target]) for digit in DIGITS)
            for side, target in zip(SIDES, self.targets)
        ]
        return points, sums


def compare(verdict, literals, fails=True):
    """Equality of a verdict and its literal version in all rows, of which some succeed and some fail."""
    for row, (reward, success, failed) in enumerate(literals):
        assert float(verdict.reward[row]) == pytest.approx(reward, rel=1e-4, abs=1e-5)
        assert (bool(verdict.success[row]), bool(verdict.failed[row])) == (success, failed)
    succeeded, failed = (sum(each) for each in list(zip(*literals))[1:])
    assert 10 < succeeded < 390 and (10 < failed < 390 if fails else failed == 0)


@each_compat
def test_the_verdict_on_switches_is_the_literal_one(compat):
    places = {f"{side} lever": ((0.03, y, 0.685), 0.01) for side, y in zip(SIDES, (0.2, -0.2))}
    values = Values(places, list(places))
    literals = []
    for row in range(400):
        points, (right, left) = values.literal(row)
        low = 1.4 - (points["right lever"][2] + points["left lever"][2])
        literals.append((2 - right - left + 50 * low, low > (0.033 if compat == "fixed" else 0.05), False))
    env = make_task("ShadowHandSwitch", 1, compat=compat)
    env.signals = values
    env.evaluate()
    compare(env._verdict, literals, fails=False)


def test_the_verdict_on_the_cup_is_the_literal_one():
    places = {"right handle": ((0, 0.06, 0.7), 0.01), "left handle": ((0, -0.06, 0.7), 0.01)}
    values = Values(places, list(places))
    random = torch.Generator().manual_seed(1)
    angles = math.pi * torch.rand(400, generator=random)
    axes = torch.randn(400, 3, generator=random)
    goal = torch.tensor([[0.0, 0.0, math.sin(0.75 * math.pi), math.cos(0.75 * math.pi)]])
    cups = Pose(torch.rand(400, 3, generator=random), quat_mul(turned(axes, angles), goal.expand(400, 4)))
    values.pose = {"object": cups}.__getitem__
    values.constant = lambda numbers: torch.tensor(numbers).expand(400, -1)
    literals = []
    for row, angle in enumerate(angles.tolist()):
        _, (right, left) = values.literal(row)
        bonus = 5 / (angle + 0.1) - 1 if right < 0.4 and left < 0.4 else 0.0
        literals.append((bonus - right - left, angle < 0.785, float(cups.pos[row, 2]) <= 0.3))
    compare(make_task("ShadowHandSwingCup", 1).verdict(values), literals)


@each_compat
def test_the_verdict_on_the_bottle_is_the_literal_one(compat):
    places = {"neck": ((0, -0.6, 0.55), 0.04), "bottle": ((0, -0.6, 0.5), 0.01), "cap": ((0, -0.6, 0.51), 0.012)}
    palms = {"right palm": ((0, -0.4, 0.8), 0.1), "left palm": ((0, -0.6, 0.4), 0.05)}
    values = Values({**places, **palms}, ["neck", "bottle"])
    literals = []
    for row in range(400):
        points, (right, _) = values.literal(row)
        held = math.dist(points["bottle"], points["left palm"])
        lifted = math.dist(points["cap"], points["bottle"])
        failed = points["neck"][2] <= 0.5 or math.dist(points["neck"], points["right palm"]) >= 0.5 or held >= 0.2
        literals.append((2 - right - held + (30 * lifted if right <= 0.3 else 0.0), lifted > 0.03, failed))
    compare(make_task("ShadowHandBottleCap", 1, compat=compat).verdict(values), literals)


@each_compat
def test_the_verdict_on_the_kettle_is_the_literal_one(compat):
    places = {"handle": ((0, 0.15, 0.5), 0.02), "bucket": ((0, -0.3, 0.25), 0.04), "spout": ((0, -0.27, 0.27), 0.03)}
    values = Values(places, ["handle", "bucket"])
    literals = []
    for row in range(400):
        points, (right, left) = values.literal(row)
        apart = math.dist(points["bucket"], points["spout"])
        bonus = 0.5 - 2 * apart if right < 0.7 and left < 0.7 else 0.0
        literals.append((1 - right - left + bonus, apart < 0.05, points["bucket"][2] <= 0.2))
    compare(make_task("ShadowHandKettle", 1, compat=compat).verdict(values), literals)


def test_the_cups_goal_is_half_a_turn_away():
    env = make_task("ShadowHandSwingCup", 1)
    env.reset(0)
    start = rotation_angle(env.signals.pose("object").quat, env.signals.constant(AROUND))
    assert float(start) == pytest.approx(math.pi, abs=2e-3)


# Engines


@needs_warp
@each_task
def test_engines_agree_step_by_step(name):
    """From the same states, with pushes towards the objects: one control step, every environment."""
    one, two = on_both_engines(lambda sim: make_task(name, 3, sim, joint_noise=0.2))
    touched = False
    force, lead = TOWARDS[name]
    for number, action in enumerate(pushing(random_actions(one, lead + 4, 3), force)):
        if number < lead:
            one.act(torch.cat(action, dim=1))
            one.physics.step()
            continue
        check_step(one, two, action)
        touched |= bool((one.physics.qvel[:, 60:].abs() > 0.01).any())
        check_verdicts(one, two, reward=2e-3)
    assert not two.physics.overflow.any() and touched
