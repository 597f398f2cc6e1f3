"""Hands that fly keep their joints within the limits, whatever they do; with what settings, on which engine."""

import pytest
import torch
from support.hand_checks import make_task
from support.marks import needs_warp
from support.mujoco_or_skip import mujoco
from support.soak import MODES, soak

from harl_isaac.tasks import TASKS

FIXED = ("ShadowHandOver", "ShadowHandReOrientation")
OTHERS = ("AllegroHandOver", "LeapHandOver")  # fixed too, with hands of other makes
PRESSED = (
    "ShadowHandDoorCloseOutward",
    "ShadowHandDoorCloseInward",
    "ShadowHandDoorOpenInward",
    "ShadowHandGraspAndPlace",
    "ShadowHandKettle",
    "ShadowHandPen",
    "ShadowHandPushBlock",
    "ShadowHandScissors",
    "ShadowHandSwitch",
)
FREE = sorted(name for name in TASKS if name.startswith("ShadowHand") and name not in FIXED)
OVERSHOOT = 0.3  # [rad]
SPEED = 200.0  # [rad/s]
each_task = pytest.mark.parametrize("name", FREE)
each_soaked = pytest.mark.parametrize("name", [*FREE, "ShadowHandReOrientation", *OTHERS])
each_mode = pytest.mark.parametrize("mode", MODES)


def make(name, num_envs, sim="mujoco"):
    return make_task(name, num_envs, sim)


def hold_limits(name, mode, num_envs, steps, seed):
    worst = soak(make(name, num_envs), mode, steps, seed)
    print(name, mode, worst)
    assert worst.overshoot < OVERSHOOT and worst.speed < SPEED and worst.diverged == 0


@each_mode
@each_soaked
def test_limits_hold(name, mode):
    hold_limits(name, mode, num_envs=16, steps=60, seed=1)


@pytest.mark.slow
@each_mode
@each_soaked
def test_limits_hold_for_long(name, mode):
    hold_limits(name, mode, num_envs=64, steps=2000, seed=11)


@each_task
def test_settings(name):
    env = make(name, 1)
    model = env.physics.model
    assert env.base is not None
    substeps = 4 if name in PRESSED else 3
    assert (model.opt.timestep, env.physics.substeps) == (pytest.approx(1.0 / 60.0 / substeps), substeps)
    assert model.opt.jacobian == mujoco.mjtJacobian.mjJAC_DENSE and model.nv >= 60
    firm = (pytest.approx([2.0 * model.opt.timestep, 1.0]), pytest.approx([0.99, 0.99, 0.001, 0.5, 2.0]))
    for side in ("right", "left"):
        for joint in env.hand.joints:
            each = model.joint(env.hand.full_name(side, joint)).id
            assert (model.jnt_solref[each], model.jnt_solimp[each]) == firm
    assert model.ntendon == 8
    for each in range(model.ntendon):
        assert (model.tendon_solref_lim[each], model.tendon_solimp_lim[each]) == firm


@pytest.mark.parametrize("name", FIXED)
def test_fixed_hands_keep_theirs(name):
    env = make(name, 1)
    model = env.physics.model
    assert (model.opt.timestep, env.physics.substeps) == (1.0 / 120.0, 2)
    assert (model.nconmax, model.njmax) == (-1, -1)
    assert model.jnt_solref == pytest.approx(torch.tensor([0.02, 1.0]).expand(model.njnt, 2).numpy())
    assert model.jnt_solimp[:, :3] == pytest.approx(torch.tensor([0.9, 0.95, 0.001]).expand(model.njnt, 3).numpy())


@needs_warp
@each_task
def test_buffers_are_capped_on_warp(name):
    from harl_isaac.sim.warp_model import portable

    physics = make(name, 2, "mujoco_warp").physics
    assert portable(physics.model).opt.jacobian == mujoco.mjtJacobian.mjJAC_AUTO
    assert physics._data.naconmax <= 2 * 200 and physics._data.njmax <= 512
    assert not physics.overflow.any()
