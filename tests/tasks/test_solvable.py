"""ShadowHandOver can be solved under its default settings: a search without feedback throws and catches."""

import math

import pytest
import torch
from support.open_loop_search import evaluate_plan, search

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
