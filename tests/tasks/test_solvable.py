"""Tasks can be solved under their default settings: by a search without feedback, by a script."""

import math

import pytest
import torch
from support.hand_checks import make_task
from support.open_loop_search import evaluate_plan, search
from support.scripted_hands import fly, palms, posture

from harl_isaac.tasks.hands.grasp_and_place import ShadowHandGraspAndPlace, ShadowHandGraspAndPlaceCfg
from harl_isaac.tasks.hands.lift_underarm import ShadowHandLiftUnderarm, ShadowHandLiftUnderarmCfg

HOLDING = 75 * math.exp(-0.2 * 50.0 * 0.25)  # 6.2: the most that an object earns that stays at its start


def fixed_start_env(name="ShadowHandOver"):
    """The default task without start noise, so that a plan meets the same start again."""
    return make_task(name, 256, joint_noise=0.0, position_noise=0.0)


@pytest.mark.slow
def test_a_throw_and_a_catch_are_found():
    found = search(fixed_start_env(), generations=14, starts=1, seed=0)
    assert found.mean_return > 20.0 > 3.0 * HOLDING
    assert found.success == 1.0 and found.speed > 0.4
    again = evaluate_plan(fixed_start_env(), found.plan, seed=0, starts=1)
    assert again.mean_return == pytest.approx(found.mean_return, rel=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["AllegroHandOver", "LeapHandOver"])
def test_other_hands_throw_and_catch(name):
    found = search(fixed_start_env(name), generations=14, starts=1, seed=0)
    print(name, found)
    assert found.mean_return > 20.0 > 3.0 * HOLDING and found.success == 1.0


def test_a_pot_is_lifted_to_its_goal():
    """By a script with feedback: fingers below the bars, 7 cm towards the pot, then up at 0.25 m/s."""
    env = ShadowHandLiftUnderarm(ShadowHandLiftUnderarmCfg(), 1, torch.device("cpu"), sim="mujoco")
    env.reset(0)
    start = palms(env).clone()
    hook = posture(env, dict.fromkeys(("FFJ1", "MFJ1", "RFJ1", "LFJ1"), 0.6)).expand(2, -1)
    rewards = []
    for number in range(190):
        forward = 0.07 * min(1.0, number / 45)
        up = min(0.25 * max(0.0, (number - 45) / 60), 0.47)
        step = env.step(fly(env, start + torch.tensor([[0.0, -forward, up], [0.0, forward, up]]), hook))
        assert not step.done.any()
        rewards.append(float(step.reward))
    assert step.metrics["success"].all() and rewards[-1] > 1.0 > 0.0 > rewards[0]


WRIST = {"WRJ1": -0.12, "WRJ0": 0.18, "FFJ3": 0.34}  # [rad] by joint, and the forefinger aside
OPEN_THUMB = {"THJ4": 0.84, "THJ3": 0.57, "THJ2": -0.04, "THJ1": -0.11, "THJ0": -0.71}
CLOSED_THUMB = {"THJ4": 1.05, "THJ3": 0.56, "THJ2": 0.1, "THJ1": 0.11, "THJ0": -0.78}
OPEN = {**WRIST, **OPEN_THUMB, "J2": 0.71}
CLOSED = {**WRIST, **CLOSED_THUMB, "J2": 1.57, "J1": 0.74}
ABOVE = (0.062, 0.0, 0.047)  # [m] of the palm from the block that it takes


def test_a_block_is_put_into_the_bucket():
    """By a script with feedback, found by search: the left hand takes the block over; from places up to 2 mm apart."""
    env = ShadowHandGraspAndPlace(ShadowHandGraspAndPlaceCfg(), 8, torch.device("cpu"), sim="mujoco")
    env.reset(0)
    right = palms(env)[:, 0].clone()
    bucket = env.signals.point("bucket").clone()
    jitter = 0.002 * (2.0 * torch.rand(8, 3, generator=torch.Generator().manual_seed(0)) - 1.0)
    take = env.signals.point("left block") + torch.tensor(ABOVE) + jitter
    postures = [posture(env, angles) for angles in (OPEN, CLOSED)]
    for number in range(230):
        lift = 0.06 * max(0.0, 1.0 - number / 30) + 0.16 * ramp(number, 75, 25) - 0.05 * ramp(number, 165, 15)
        over = 0.4 * ramp(number, 105, 50)
        if number == 165:
            take[:, :2] += (bucket - env.signals.point("left block"))[:, :2]  # the block has moved in the hand
        closed = ramp(number, 50, 20) * (number < 190)
        fingers = postures[0] + closed * (postures[1] - postures[0])
        left = take + torch.tensor([0.0, over, lift])
        step = env.step(fly(env, torch.stack((right, left), dim=1), torch.stack((torch.zeros(20), fingers)), 0.41))
    assert not step.done.any()
    assert step.metrics["success"].sum() >= 4


def ramp(number, start, length):
    """From 0 at `start` to 1 after `length` steps."""
    return min(1.0, max(0.0, (number - start) / length))
