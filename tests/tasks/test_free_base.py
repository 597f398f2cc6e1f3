"""Hands with a free base: where they start, what a push does, what they observe of themselves, and their resets."""

import math

import numpy as np
import pytest
import torch
from support.mujoco_or_skip import mujoco

from harl_isaac.env import Box
from harl_isaac.tasks.hands.free_base import mass_matrix
from harl_isaac.tasks.hands.hand import PhysicsCfg
from harl_isaac.tasks.hands.layout import MOUNTS, free_base
from harl_isaac.tasks.hands.over import ShadowHandOver, ShadowHandOverCfg
from harl_isaac.tasks.hands.quaternions import euler_angles
from harl_isaac.tasks.hands.scene import SceneBuilder
from harl_isaac.tasks.hands.shadow_hand import SHADOW_HAND

CPU = torch.device("cpu")
BLOCK = 199
# Palm's center, mean of four fingertips, thumb's tip, palm's normal at zero angles [m] (the specification's table A.2).
POINTS = {
    ("over", "right"): ((0, -0.370, 0.510), (0, -0.474, 0.490), (-0.098, -0.383, 0.499), (0, 0, 1)),
    ("over", "left"): ((0, -0.630, 0.510), (0, -0.526, 0.490), (0.098, -0.617, 0.499), (0, 0, 1)),
    ("underarm", "left"): ((0, -0.780, 0.510), (0, -0.676, 0.490), (0.098, -0.767, 0.499), (0, 0, 1)),
    ("abreast", "right"): ((-0.370, -0.554, 0.509), (-0.474, -0.547, 0.491), (-0.383, -0.460, 0.536), (0, -0.38, 0.92)),
    ("abreast", "left"): ((-0.370, -1.146, 0.509), (-0.474, -1.154, 0.491), (-0.383, -1.060, 0.462), (0, 0.38, 0.92)),
    ("over2underarm", "right"): ((0, 0.027, 0.869), (0, 0.057, 0.971), (0.097, 0.039, 0.881), (0, -1, 0.10)),
    ("over2underarm", "left"): ((0, -0.430, 0.510), (0, -0.326, 0.490), (0.098, -0.417, 0.499), (0, 0, 1)),
    ("lift", "right"): ((0, -0.320, 0.460), (0, -0.424, 0.440), (-0.098, -0.333, 0.449), (0, 0, 1)),
    ("lift", "left"): ((0, -0.880, 0.460), (0, -0.776, 0.440), (0.098, -0.867, 0.449), (0, 0, 1)),
    ("door", "right"): ((0.180, 0.190, 0.600), (0.076, 0.210, 0.600), (0.167, 0.201, 0.698), (0, -1, 0)),
    ("door", "left"): ((0.180, -0.190, 0.600), (0.076, -0.210, 0.600), (0.167, -0.201, 0.502), (0, 1, 0)),
    ("close inward", "right"): ((0.530, 0.490, 0.600), (0.426, 0.510, 0.600), (0.517, 0.501, 0.698), (0, -1, 0)),
    ("close inward", "left"): ((0.530, -0.490, 0.600), (0.426, -0.510, 0.600), (0.517, -0.501, 0.502), (0, 1, 0)),
    ("swing cup", "right"): ((-0.020, 0.190, 0.800), (-0.124, 0.210, 0.800), (-0.033, 0.201, 0.898), (0, -1, 0)),
    ("swing cup", "left"): ((-0.020, -0.190, 0.800), (-0.124, -0.210, 0.800), (-0.033, -0.201, 0.702), (0, 1, 0)),
    ("bottle cap", "right"): ((0, -0.721, 0.669), (0, -0.639, 0.736), None, (0, 0.48, -0.88)),
    ("bottle cap", "left"): ((0.008, -0.620, 0.456), (-0.007, -0.724, 0.443), None, (0.76, 0, 0.64)),
    ("table", "right"): ((0.180, 0.200, 0.790), (0.076, 0.20, 0.810), (0.167, 0.103, 0.801), (0, 0, -1)),
    ("table", "left"): ((0.180, -0.200, 0.790), (0.076, -0.20, 0.810), (0.167, -0.297, 0.801), (0, 0, -1)),
    ("block stack", "right"): ((0, 0.230, 0.690), (0, 0.126, 0.710), (0.097, 0.217, 0.701), (0, 0, -1)),
    ("block stack", "left"): ((0, -0.230, 0.690), (0, -0.126, 0.710), (-0.098, -0.217, 0.701), (0, 0, -1)),
}
# Transition and orientation scale of each family, and the terminal speed of a base [m/s] (table A.3).
SPEEDS = [
    (0.05, 0.5, 0.166),
    (0.5, 1.0, 1.66),
    (0.1, 2.0, 0.333),
    (0.25, 1.0, 0.832),
    (0.5, 0.5, 1.66),
    (0.1, 0.1, 0.333),
    (0.5, 0.1, 1.66),
    (0.2, 0.02, 0.665),
]


def flying(layout="underarm", scales=(0.05, 0.5)):
    """A throw between free hands on the mounts of a layout."""

    class Flying(ShadowHandOver):
        mounts = MOUNTS[layout]
        base = free_base(*scales)

    return Flying


def make(num_envs=4, layout="underarm", scales=(0.05, 0.5), **settings):
    cfg = ShadowHandOverCfg(**{"episode_length": 1000, **settings})
    env = flying(layout, scales)(cfg, num_envs, CPU, "mujoco")
    type(env).drop_height = -math.inf
    return env


def model_of(layout):
    scene = SceneBuilder(PhysicsCfg(), SHADOW_HAND, MOUNTS[layout], free=True)
    scene.add_palms()
    scene.add_fingertips()
    return scene.compile()


@pytest.mark.parametrize("layout", sorted(MOUNTS))
def test_points_at_the_start(layout):
    model = model_of(layout)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    for number, side in enumerate(("right", "left")):
        root = data.site(f"{side} root").xpos
        assert root == pytest.approx(MOUNTS[layout][number].pos, abs=1e-9)
        if (layout, side) not in POINTS:
            continue
        palm, fingers, thumb, normal = POINTS[layout, side]
        tips = [data.site(f"{side} {digit}distal").xpos for digit in ("ff", "mf", "rf", "lf", "th")]
        assert data.site(f"{side} palm").xpos == pytest.approx(palm, abs=2e-3)
        assert np.mean(tips[:4], axis=0) == pytest.approx(fingers, abs=2e-3)
        assert thumb is None or tips[4] == pytest.approx(thumb, abs=2e-3)
        axes = data.body(f"{side}/robot0:palm").xmat.reshape(3, 3)
        assert axes @ np.array([0, -1, 0]) == pytest.approx(normal, abs=6e-3)


@pytest.mark.parametrize("layout", sorted(MOUNTS))
def test_the_base_turns_about_the_center_of_mass(layout):
    model = model_of(layout)
    mass = mass_matrix(model)
    for side in ("right", "left"):
        first = model.joint(f"{side} base").dofadr[0]
        base = mass[first : first + 6, first : first + 6]
        drag = model.dof_damping[first : first + 6]
        assert np.abs(base - np.diag(base.diagonal())).max() < 1e-3
        assert drag == pytest.approx(100.0 * base.diagonal())
        assert drag == pytest.approx([501.1, 501.1, 501.1, 2.606, 1.120, 2.651], rel=2e-3)
        for joint, own in (("WRJ1", 0.5), ("WRJ0", 0.5), ("FFJ3", 0.1), ("THJ0", 0.1)):
            dof = model.joint(f"{side}/robot0:{joint}").dofadr[0]
            assert model.dof_damping[dof] == pytest.approx(own + 100.0 * (mass[dof, dof] - model.dof_armature[dof]))


@pytest.mark.parametrize("transition,orientation,speed", SPEEDS)
def test_terminal_speeds(transition, orientation, speed):
    """Rows push along x, y, z, there and back, with straight fingers; the axes are the scene's, as the hand turns."""
    env = make(6, scales=(transition, orientation), joint_noise=0.0)
    env._rest_pos[env.signals.columns("object")][:3] += 5.0
    env.reset(0)
    action = torch.zeros(6, 2, 26)
    action[:, :, 6:] = (-env._target_mid / env._target_half).view(2, 20)
    for row in range(6):
        action[row, :, row // 2] = 1.0 - 2.0 * (row % 2)
    velocity = []
    for _ in range(40):
        env.step(tuple(action.unbind(1)))
        velocity.append(torch.stack([env.signals.velocity(f"{side} base")[0] for side in ("right", "left")], 1))
    settled = torch.stack(velocity[-20:]).mean(0)
    for row in range(6):
        along = settled[row, :, row // 2] * (1.0 - 2.0 * (row % 2))
        assert along.tolist() == pytest.approx([speed] * 2, rel=0.01)
        assert settled[row].norm(dim=1).tolist() == pytest.approx([speed] * 2, rel=0.01)


def test_a_torque_turns_the_hand_about_its_axis():
    env = make(3, layout="table", scales=(0.5, 0.1), joint_noise=0.0)
    env.reset(0)
    action = torch.zeros(3, 2, 26)
    for row in range(3):
        action[row, :, 3 + row] = 1.0
    env.step(tuple(action.unbind(1)))
    assert torch.equal(env.physics.xfrc_applied.abs().sum((0, 2)).nonzero()[:, 0], env._flight._bodies)
    env.step(tuple(action.unbind(1)))
    for side in ("right", "left"):
        turn = env.signals.velocity(f"{side} base")[1]
        assert (turn.diagonal() > 0.3).all()  # 1.67 Nm against a drag of 1.1 to 2.7 Nms
        assert (turn.diagonal() < 1.6).all()


@pytest.mark.parametrize("agents,widths", [("hands", [26]), ("fingers", [8, 3, 3, 3, 4, 5])])
def test_the_base_is_moved_by_the_palms_agent(agents, widths):
    env = make(2, agents=agents)
    assert env.spec.actions == tuple(Box(width) for width in widths * 2)
    assert env.spec.obs_sizes == (BLOCK + 24,) * (2 * len(widths)) and env.spec.state_size == 2 * BLOCK + 24
    values = torch.linspace(-1.0, 1.0, 52)
    env.act(values.expand(2, -1))
    forearms = [env.physics.model.body(f"{side}/robot0:forearm").id for side in ("right", "left")]
    scale = torch.tensor([83.33333] * 3 + [8.333333] * 3)
    for body, first in zip(forearms, (0, 26)):
        assert torch.allclose(env.physics.xfrc_applied[0, body], values[first : first + 6] * scale, atol=1e-4)
        wrist = env.physics.model.actuator(f"{('right', 'left')[first > 0]}/robot0:A_WRJ1")
        low, high = wrist.ctrlrange
        expected = low + (float(values[first + 6]) + 1) / 2 * (high - low)
        assert float(env.physics.ctrl[0, wrist.id]) == pytest.approx(expected, abs=1e-6)
    assert torch.allclose(env.observe()[1][:, 0, [173, 198, BLOCK + 173, BLOCK + 198]], values[[0, 25, 26, 51]])


# What a hand observes of itself


def turned(env, axis_angles):
    """Turn both bases of every row from their mounts by angles [E] about x, at rest."""
    physics = env.physics
    qpos = physics.qpos.clone()
    half = axis_angles / 2
    for side in ("right", "left"):
        columns = env.signals.columns(f"{side} base")
        rest = torch.as_tensor(physics.model.qpos0[columns], dtype=torch.float32)
        w, x, y, z = rest[3:]
        s = half.sin()
        c = half.cos()  # rest times a turn about x
        qpos[:, columns.start + 3 : columns.stop] = torch.stack(
            (w * c - x * s, w * s + x * c, y * c + z * s, z * c - y * s), 1
        )
    everyone = torch.ones(env.spec.num_envs, dtype=torch.bool)
    physics.set_state(everyone, qpos, torch.zeros_like(physics.qvel))
    physics.forward(everyone)


@pytest.mark.parametrize("layout", sorted(MOUNTS))
def test_angles_are_steady_about_the_mount(layout):
    env = make(5, layout=layout)
    env.reset(0)
    angles = torch.tensor([-0.01, -1e-4, 0.0, 1e-4, 0.01])
    turned(env, angles)
    state = env.observe()[1][:, 0]
    for first in (170, BLOCK + 170):
        expected = torch.stack((angles, torch.zeros(5), torch.zeros(5)), 1)
        assert torch.allclose(state[:, first : first + 3], expected, atol=2e-6)


def test_the_originals_angles_jump():
    env = make(2, compat="original")
    env.reset(0)
    turned(env, torch.tensor([-0.01, 0.01]))
    state = env.observe()[1][:, 0]
    assert state[:, 170].tolist() == pytest.approx([5.0, 0.01], abs=1e-5)  # 2 pi - 0.01, clipped
    assert state[0, BLOCK + 172].item() == pytest.approx(3.1415, abs=1e-4)


def test_angles_are_those_of_the_rotation():
    random = torch.Generator().manual_seed(0)
    quats = torch.nn.functional.normalize(torch.randn(200, 4, generator=random), dim=1)
    for (x, y, z, w), angles in zip(quats.double().tolist(), euler_angles(quats).double().tolist()):
        a, b, c = angles
        about_x = np.array([[1, 0, 0], [0, math.cos(a), -math.sin(a)], [0, math.sin(a), math.cos(a)]])
        about_y = np.array([[math.cos(b), 0, math.sin(b)], [0, 1, 0], [-math.sin(b), 0, math.cos(b)]])
        about_z = np.array([[math.cos(c), -math.sin(c), 0], [math.sin(c), math.cos(c), 0], [0, 0, 1]])
        expected = np.zeros(9)
        mujoco.mju_quat2Mat(expected, np.array([w, x, y, z]))
        assert about_z @ about_y @ about_x == pytest.approx(expected.reshape(3, 3), abs=2e-3)


# Resets


def test_a_reset_touches_only_its_rows_and_takes_the_push_away():
    env = make(5)
    env.reset(0)
    for _ in range(3):
        env.step(tuple(torch.full((5, 26), 0.4) for _ in range(2)))
    mask = torch.tensor([False, True, False, True, False])
    watched = [env.physics.qpos, env.physics.qvel, env.physics.sensors, env.physics.xfrc_applied, env.action]
    before = [value.clone() for value in watched]
    env._start_episodes(mask)
    for old, new in zip(before, watched):
        assert torch.equal(old[~mask], new[~mask]) and not torch.equal(old[mask], new[mask])
    assert before[3][mask].any() and not env.physics.xfrc_applied[mask].any()
    assert not env.physics.qvel[mask].any()
    columns = env.signals.columns("right base")
    assert torch.allclose(env.physics.qpos[mask][:, columns], torch.tensor(env.physics.model.qpos0[columns]).float())
    state = env.observe()[1][:, 0]
    assert state[1, 167:170].tolist() == pytest.approx([0.0, 0.0, 0.5], abs=1e-6)
    assert state[1, BLOCK + 167 : BLOCK + 170].tolist() == pytest.approx([0.0, -1.15, 0.5], abs=1e-6)
