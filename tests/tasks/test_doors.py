"""The door tasks against their specification: widths, every index of the state, starts, rewards, resets, engines."""

import math

import numpy as np
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
from support.hand_reference import DIGITS, SIDES, base_of, hand_block, labeled, state_of
from support.marks import needs_warp

from harl_isaac.check_env import check_env
from harl_isaac.env import Box

# Whether the door is turned, angle of the leaves [rad], fingertip sums of the right and the left hand and the distance
# of the handles [m] at the start, what every step earns, greatest sum [m] (the specification's tables B).
SPECS = {
    "ShadowHandDoorOpenOutward": (False, 0.0, (1.007, 1.096), 0.067, 2.0, 1.5),
    "ShadowHandDoorOpenInward": (True, 0.0, (1.053, 1.169), 0.067, 2.0, 1.5),
    "ShadowHandDoorCloseInward": (True, 1.57, (0.641, 0.774), 0.926, 2.0, 1.5),
    "ShadowHandDoorCloseOutward": (False, 1.57, (2.646, 2.654), 0.766, 6.0, 3.0),
}
NAMES = sorted(SPECS)
each_task = pytest.mark.parametrize("name", NAMES)


@each_task
def test_widths(name):
    env = make_task(name, 1)
    assert env.spec.obs_sizes == (218, 218) and env.spec.state_size == 417
    assert env.spec.actions == (Box(26), Box(26)) and env.spec.max_episode_steps == 250
    assert env.base == pytest.approx((833.3333, 8.33333), rel=1e-5)
    assert [(block.name, block.width) for block in env.tail] == [("door", 13), ("left handle", 3), ("right handle", 3)]
    assert make_task(name, 1, agents="fingers").spec.actions == tuple(map(Box, [8, 3, 3, 3, 4, 5] * 2))


@each_task
def test_the_contract(name):
    check_env(lambda: make_task(name, 3, episode_length=7))


def expected_state(env, row, turned):
    model = env.physics.model
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(SIDES, env.action[row].double().numpy().reshape(2, 26)):
        parts += hand_block(model, data, side, last_action, base_of(env, model, data, side, "palm"))
    parts += [("door", [0, 0, 0.7, 0, int(turned), 0, int(not turned)] + [0] * 6)]
    parts += [(f"{side} handle", data.site(f"{side} handle").xpos) for side in ("left", "right")]
    return labeled(parts)


@each_task
def test_every_index_of_the_state(name):
    """In states that random play reaches, but for an episode's end."""
    turned, *_ = SPECS[name]
    env = make_task(name, 8, joint_noise=0.2)
    check_every_index(env, random_actions(env, 6, 1), lambda row: expected_state(env, row, turned))


# Starts and resets


@each_task
def test_starts(name):
    """Sums of five distances, from a door whose measures are rounded to a millimeter: to 1.1 mm for each fingertip."""
    _, angle, sums, gap, bonus, _ = SPECS[name]
    env = make_task(name, 2)
    env.reset(0)
    reached = [float(env.reach(env.signals, side, f"{side} handle")[0]) for side in SIDES]
    assert reached == pytest.approx(sums, abs=5.5e-3)
    handles = [env.signals.point(f"{side} handle")[0] for side in SIDES]
    assert float((handles[0] - handles[1])[1]) == pytest.approx(gap, abs=2e-3)
    assert float(handles[0][2]) == pytest.approx(0.717 if SPECS[name][0] else 0.683, abs=2e-3)
    for side in SIDES:
        assert torch.allclose(env.signals.joint(f"{side} hinge"), torch.tensor(angle))
    assert not env.physics.qvel.any()
    assert float(env.verdict(env.signals).reward[0]) == pytest.approx(bonus - sum(reached), abs=1e-5)


@each_task
def test_a_door_stays_where_it_is(name):
    env = make_task(name, 1)
    env.reset(0)
    still = (-env._target_mid / env._target_half).view(2, 20)
    action = torch.cat((torch.zeros(2, 6), still), dim=1)
    for _ in range(60):
        env.step(tuple(action[:, None].unbind(0)))
    assert float(env.signals.joint("right hinge")) == pytest.approx(SPECS[name][1], abs=1e-3)
    assert float(env.physics.qvel.abs().max()) < 1e-3


@each_task
def test_a_reset_touches_only_its_rows(name):
    env = make_task(name, 5)
    env.reset(0)
    for action in random_actions(env, 12, 0):
        env.step(action)
    mask = torch.tensor([False, True, False, True, False])
    watched = [env.physics.qpos, env.physics.qvel, env.physics.sensors, env.physics.xfrc_applied, env.action]
    before = [value.clone() for value in watched]
    env._start_episodes(mask)
    for old, new in zip(before, watched):
        assert torch.equal(old[~mask], new[~mask]) and not torch.equal(old[mask], new[mask])
    for side in SIDES:
        assert torch.allclose(env.signals.joint(f"{side} hinge")[mask], torch.tensor(SPECS[name][1]))
    assert not env.physics.qvel[mask].any() and not env.physics.xfrc_applied[mask].any()


@each_task
def test_the_start_scene_renders(name, tmp_path):
    check_start_renders(make_task(name, 1), tmp_path)


# Rewards and ends


class Points:
    """Handles and fingertips at random: near the handles, and far."""

    def __init__(self, rows, widest):
        random = torch.Generator().manual_seed(0)
        self.points = {}
        for side in SIDES:
            handle = torch.rand(rows, 3, generator=random)
            self.points[f"{side} handle"] = handle
            spread = widest / 4 * torch.rand(rows, 1, generator=random)
            spread[: rows // 2] /= 8.0
            for digit in DIGITS:
                offset = spread * torch.randn(rows, 3, generator=random)
                self.points[f"{side} {digit}distal"] = handle + offset
        self.point = self.points.__getitem__

    def literal(self, row):
        """Both hands' sums, and the distance of the handles."""
        points = {name: value[row].double().tolist() for name, value in self.points.items()}
        sums = [sum(math.dist(points[f"{side} {d}distal"], points[f"{side} handle"]) for d in DIGITS) for side in SIDES]
        return (*sums, abs(points["right handle"][1] - points["left handle"][1]))


@each_task
def test_verdicts_are_the_literal_ones(name):
    _, angle, _, _, bonus, farthest = SPECS[name]
    values = Points(400, farthest)
    verdict = type(make_task(name, 1)).verdict(values)
    counts = np.zeros(3)
    for row in range(400):
        right, left, gap = values.literal(row)
        both = right < 0.5 and left < 0.5
        reward = bonus - right - left
        if both:
            reward += 1.0 - 2.0 * gap if angle else 2.0 * gap
        success = gap < 0.5 if angle else gap > 0.5
        failed = right >= farthest or left >= farthest
        assert float(verdict.reward[row]) == pytest.approx(reward, abs=1e-5)
        assert (bool(verdict.success[row]), bool(verdict.failed[row])) == (success, failed)
        counts += (both, success, failed)
    assert (counts > 20).all() and (counts < 380).all()


# Physics


@needs_warp
@each_task
def test_engines_agree_step_by_step(name):
    """From the same states, with pushes that reach the door: one control step, every environment."""
    one, two = on_both_engines(lambda sim: make_task(name, 3, sim, joint_noise=0.2))
    for action in random_actions(one, 5, 3):
        check_step(one, two, action)
        check_verdicts(one, two, reward=1e-4)
    assert not two.physics.overflow.any()
