"""Tasks can be solved under their default settings: by a search without feedback, by a script."""

import math

import pytest
import torch
from support.open_loop_search import evaluate_plan, search

from harl_isaac.tasks.hands.lift_underarm import ShadowHandLiftUnderarm, ShadowHandLiftUnderarmCfg
from harl_isaac.tasks.hands.over import ShadowHandOver, ShadowHandOverCfg

HOLDING = 75 * math.exp(-0.2 * 50.0 * 0.25)  # 6.2: the most that an object earns that stays at its start


def fixed_start_env():
    """The default task without start noise, so that a plan meets the same start again."""
    cfg = ShadowHandOverCfg(joint_noise=0.0, position_noise=0.0)
    return ShadowHandOver(cfg, 256, torch.device("cpu"), sim="mujoco")


@pytest.mark.slow
def test_a_throw_and_a_catch_are_found():
    found = search(fixed_start_env(), generations=14, starts=1, seed=0)
    assert found.mean_return > 20.0 > 3.0 * HOLDING
    assert found.success == 1.0 and found.speed > 0.4
    again = evaluate_plan(fixed_start_env(), found.plan, seed=0, starts=1)
    assert again.mean_return == pytest.approx(found.mean_return, rel=1e-3)


def straight_fingers(env, knuckle):
    """Joint targets [20] as actions: all at 0 rad, but for the middle joints of the fingers."""
    targets = []
    for joint in env.hand.actuated:
        low, high = env.physics.model.joint(env.hand.full_name("right", joint)).range
        angle = knuckle if joint in ("FFJ1", "MFJ1", "RFJ1", "LFJ1") else 0.0
        targets.append(2.0 * (angle - low) / (high - low) - 1.0)
    return torch.tensor(targets)


def palms(env):
    return torch.stack([env.signals.point(f"{side} palm") for side in ("right", "left")], dim=1)


def test_a_pot_is_lifted_to_its_goal():
    """By a script with feedback: fingers below the bars, 7 cm towards the pot, then up at 0.25 m/s."""
    env = ShadowHandLiftUnderarm(ShadowHandLiftUnderarmCfg(), 1, torch.device("cpu"), sim="mujoco")
    env.reset(0)
    start = palms(env).clone()
    fingers = straight_fingers(env, knuckle=0.6).expand(1, 2, -1)
    fastest = env.base.force / 501.1  # [m/s]
    about = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]])  # the left hand's axes are turned about z
    rewards = []
    for number in range(190):
        forward = 0.07 * min(1.0, number / 45)
        up = min(0.25 * max(0.0, (number - 45) / 60), 0.47)
        place = start + torch.tensor([[0.0, -forward, up], [0.0, forward, up]])
        force = 6.0 * (place - palms(env)) / fastest
        torque = -2.0 * env._flight.angles().view(1, 2, 3) * about
        action = torch.cat((force.clamp(-1, 1), torque.clamp(-1, 1), fingers), dim=2)
        step = env.step((action[:, 0], action[:, 1]))
        assert not step.done.any()
        rewards.append(float(step.reward))
    assert step.metrics["success"].all() and rewards[-1] > 1.0 > 0.0 > rewards[0]
