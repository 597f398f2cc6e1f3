"""ShadowHandOver against its specification: model, every index of the observation, actions, reward, ends and resets.

Expected values are read by name from a MuJoCo state of the test's own, or computed literally in float64.
"""

import dataclasses
import math

import numpy as np
import pytest
import torch
from support.hand_reference import (
    ACTUATED,
    DIGITS,
    JOINTS,
    goal_of,
    hand_block,
    labeled,
    literal_closeness,
    matrix,
    named,
    product,
    random_quats,
    state_of,
    throw_block,
)
from support.mujoco_or_skip import mujoco

from harl_isaac.env import Box
from harl_isaac.tasks.hands import base
from harl_isaac.tasks.hands.hand import GainsCfg, PhysicsCfg
from harl_isaac.tasks.hands.layout import Mount
from harl_isaac.tasks.hands.objects import add_shape
from harl_isaac.tasks.hands.over import ShadowHandOver, ShadowHandOverCfg
from harl_isaac.tasks.hands.partition import hand_groups
from harl_isaac.tasks.hands.quaternions import quat_conj, quat_mul, rotate, rotation_angle, tumbled
from harl_isaac.tasks.hands.scene import SceneBuilder
from harl_isaac.tasks.hands.shadow_hand import SHADOW_HAND
from harl_isaac.tasks.hands.throws import closeness

CPU = torch.device("cpu")
BLOCK = 187
TAIL = 24
STATE = 398
PART_JOINTS = {
    "palm": ["WRJ1", "WRJ0"],
    "FF": ["FFJ3", "FFJ2", "FFJ1"],
    "MF": ["MFJ3", "MFJ2", "MFJ1"],
    "RF": ["RFJ3", "RFJ2", "RFJ1"],
    "LF": ["LFJ4", "LFJ3", "LFJ2", "LFJ1"],
    "TH": ["THJ4", "THJ3", "THJ2", "THJ1", "THJ0"],
}


def make(num_envs=4, **settings):
    return ShadowHandOver(ShadowHandOverCfg(**settings), num_envs, CPU, sim="mujoco")


def still(env):
    """Zero actions: A x [E, width]."""
    return tuple(torch.zeros(env.spec.num_envs, space.size) for space in env.spec.actions)


def put_object(env, row, pos):
    """Place the object of one row [m], at rest; the hands stay."""
    qpos = env.physics.qpos.clone()
    qvel = env.physics.qvel.clone()
    qpos[row, 48:51] = torch.as_tensor(pos)
    qvel[row, 48:] = 0.0
    mask = torch.arange(env.spec.num_envs) == row
    env.physics.set_state(mask, qpos, qvel)
    env.physics.forward(mask)
    env.physics.qpos[row, 48:51] = torch.as_tensor(pos)
    env.physics.qvel[row, 48:] = 0.0


@pytest.fixture(scope="module")
def model():
    return make(1).physics.model


# The model


@pytest.mark.parametrize("side", ["right", "left"])
def test_joints_actuators_and_couplings(model, side):
    first = 24 * (side == "left")
    assert [model.jnt(first + i).name for i in range(24)] == [named(side, row[0]) for row in JOINTS]
    assert [model.actuator(20 * (side == "left") + i).name for i in range(20)] == [
        named(side, "A_" + joint) for joint in ACTUATED
    ]
    for i, (joint, low, high, kp, _) in enumerate(JOINTS):
        wrist = joint.startswith("WR")
        assert model.jnt_qposadr[first + i] == model.jnt_dofadr[first + i] == first + i
        assert model.jnt_range[first + i] == pytest.approx([low, high]) and model.jnt_limited[first + i]
        assert model.dof_armature[first + i] == pytest.approx(0.005 if wrist else 0.001)
        assert model.dof_damping[first + i] == pytest.approx(GainsCfg().damping * (0.5 if wrist else 0.1))
        assert model.dof_frictionloss[first + i] == 0.0
        if kp:
            actuator = model.actuator(named(side, "A_" + joint))
            assert model.jnt(actuator.trnid[0]).name == named(side, joint)
            assert actuator.ctrlrange == pytest.approx([low, high])
    for digit in ("FF", "MF", "RF", "LF"):
        tendon = model.tendon(named(side, f"T_{digit}J1c"))
        wraps = slice(model.tendon_adr[tendon.id], model.tendon_adr[tendon.id] + model.tendon_num[tendon.id])
        coefficients = {model.jnt(j).name: c for j, c in zip(model.wrap_objid[wraps], model.wrap_prm[wraps])}
        assert coefficients == {named(side, digit + "J0"): 0.00705, named(side, digit + "J1"): -0.00805}
        assert model.tendon_range[tendon.id] == pytest.approx([-0.001, 0.001]) and model.tendon_limited[tendon.id]
    assert model.ntendon == 8


@pytest.mark.parametrize("gains", [(1.0, 1.0, 1.0), (2.0, 3.0, 4.0)])
def test_gains_are_multiples_of_the_hand_file(gains):
    kp_scale, force_scale, damping_scale = gains
    model = make(1, physics=PhysicsCfg(gains=GainsCfg(kp_scale, force_scale, damping_scale))).physics.model
    for side in ("right", "left"):
        for joint, _, _, kp, force in JOINTS:
            damping = 0.5 if joint.startswith("WR") else 0.1
            assert model.dof_damping[model.jnt(named(side, joint)).dofadr[0]] == pytest.approx(damping_scale * damping)
            if kp:
                actuator = model.actuator(named(side, "A_" + joint))
                assert actuator.gainprm[0] == pytest.approx(kp_scale * kp)
                assert actuator.biasprm[:3] == pytest.approx([0.0, -kp_scale * kp, 0.0])
                assert actuator.forcerange == pytest.approx([-force_scale * force, force_scale * force])


@pytest.mark.parametrize(
    "side,palm_center,fingertips,thumb",
    [
        ("right", (0, -0.370, 0.510), (0, -0.474, 0.490), (-0.098, -0.383, 0.499)),
        ("left", (0, -0.630, 0.510), (0, -0.526, 0.490), (0.098, -0.617, 0.499)),
    ],
)
def test_forward_kinematics_at_zero_angles(model, side, palm_center, fingertips, thumb):
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)

    def point(body, offset):
        body = data.body(named(side, body))
        return body.xpos + body.xmat.reshape(3, 3) @ np.array(offset)

    tips = [point(digit + "distal", (0, 0, 0.02)) for digit in DIGITS]
    assert point("palm", (0, -0.02, 0.08)) == pytest.approx(palm_center, abs=6e-4)
    assert np.mean(tips[:4], axis=0) == pytest.approx(fingertips, abs=6e-4)
    assert tips[4] == pytest.approx(thumb, abs=6e-4)
    normal = data.body(named(side, "palm")).xmat.reshape(3, 3) @ np.array([0, -1, 0])
    assert normal == pytest.approx([0, 0, 1], abs=1e-3)


def test_masses_gravity_and_time(model):
    for side in ("right", "left"):
        bodies = [i for i in range(model.nbody) if model.body(i).name.startswith(side)]
        assert len(bodies) == 26 and sum(model.body_mass[bodies]) == pytest.approx(5.011, abs=1e-9)
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    assert abs(data.qfrc_bias[:48]).max() > 0.05
    assert data.qfrc_passive[:48] == pytest.approx(data.qfrc_bias[:48], abs=1e-9)  # gravity is off on the hands
    env = make(1)
    put_object(env, 0, (1.0, 1.0, 5.0))
    env.physics.step()
    assert float(env.physics.qvel[0, 50]) == pytest.approx(-9.81 / 60.0, rel=1e-5)  # one step is 1/60 s


def test_who_collides_with_whom(model):
    def may(a, b):
        kinds = model.geom_contype
        partners = model.geom_conaffinity
        return bool(kinds[a] & partners[b] or kinds[b] & partners[a])

    names = [model.geom(i).name for i in range(model.ngeom)]
    thing = names.index("object")
    floor = names.index("floor")
    others = [i for i in range(model.ngeom) if i != thing]
    assert {names[i] for i in others if may(thing, i)} == set(names) - {"object", "goal"}
    assert [names[i] for i in range(model.ngeom) if may(floor, i)] == ["object"]
    assert not any(may(a, b) for a in range(model.ngeom) for b in range(a) if thing not in (a, b))
    kinds = [model.geom_type[i] for i in range(model.ngeom) if "robot0" in names[i]]
    assert model.nmesh == 0 and set(kinds) == {int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_BOX)}
    assert len(kinds) == 2 * 19 and model.ngeom == 41  # per hand 16 capsules and 3 boxes, no placeholders
    pairs = [frozenset((names[a], names[b])) for a, b in zip(model.pair_geom1, model.pair_geom2)]
    assert len(pairs) == len(set(pairs)) == 36
    assert all(len({name.split("/")[0] for name in pair}) == 1 for pair in pairs)  # within one hand


def test_hands_pass_through_each_other_and_the_floor():
    """Two hands at the same place, half in the floor."""
    mounts = (Mount((0.0, 0.0, 0.0)), Mount((0.0, -0.7, 0.0), (0.0, 0.0, math.pi)))
    scene = SceneBuilder(PhysicsCfg(), SHADOW_HAND, mounts)
    add_shape(scene, "object", "ball", (0.0, 2.0, 0.02))
    model = scene.compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    touching = [{model.geom(contact.geom1).name, model.geom(contact.geom2).name} for contact in data.contact]
    assert {"floor", "object"} in touching
    assert all(len({name.split("/")[0] for name in pair}) == 1 for pair in touching if pair != {"floor", "object"})


@pytest.mark.parametrize(
    "shape,mass,half_extents",
    [
        ("egg", 0.0754, (0.03, 0.03, 0.04)),
        ("ellipsoid", 0.0754, (0.03, 0.03, 0.04)),
        ("ball", 0.0787, (0.0335,) * 3),
        ("cube", 0.0709, (0.025,) * 3),
    ],
)
def test_objects(shape, mass, half_extents):
    env = make(1, object=shape)
    model = env.physics.model
    assert float(model.body("object").mass[0]) == pytest.approx(mass, abs=5e-5)
    assert model.geom_aabb[model.geom("object").id] == pytest.approx((0, 0, 0) + half_extents, abs=1e-9)
    assert torch.isfinite(env.step(still(env)).state).all()


def test_unknown_object_names_the_possible_ones():
    with pytest.raises(ValueError, match="'pear'.*egg, ellipsoid, ball, cube"):
        make(1, object="pear")


def test_engine_choice_reaches_the_engine(monkeypatch):
    given = {}

    def record(sim, model, num_envs, substeps, device):
        given.update(sim=sim, num_envs=num_envs, substeps=substeps, device=device)
        raise KeyboardInterrupt

    monkeypatch.setattr(base, "make_physics", record)
    with pytest.raises(KeyboardInterrupt):
        ShadowHandOver(ShadowHandOverCfg(physics=PhysicsCfg(substeps=3)), 7, CPU, sim="mujoco_warp")
    assert given == {"sim": "mujoco_warp", "num_envs": 7, "substeps": 3, "device": CPU}


# Observations


def expected_state(model, env, row):
    """The 398 numbers before the clip, in the specification's order, with a label each."""
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(("right", "left"), env.action[row].double().numpy().reshape(2, 20)):
        parts += hand_block(model, data, side, last_action)
    return labeled(parts + throw_block(model, data, "object", goal_of(env, "goal", row)))


def scramble(env, model, seed):
    """Random joints near random targets, gentle speeds; from row 10 on, the object touches fingertip row mod 10."""
    random = torch.Generator().manual_seed(seed)
    rows = env.spec.num_envs
    everyone = torch.ones(rows, dtype=torch.bool)
    env.reset(seed)
    env.act(2.0 * torch.rand(rows, 40, generator=random) - 1.0)
    qpos = env.physics.qpos.clone()
    qpos[:, model.actuator_trnid[:, 0]] = env.physics.ctrl + 0.01 * torch.randn(rows, 40, generator=random)
    qvel = 0.1 * torch.randn(rows, 54, generator=random)
    data = mujoco.MjData(model)
    tips = [named(s, f"C_{d}distal") for s in ("right", "left") for d in DIGITS]
    for row in range(10, rows):
        tip = model.geom(tips[row % 10]).id
        thing = model.geom("object").id
        ends = np.zeros(6)
        direction = torch.nn.functional.normalize(torch.randn(3, generator=random), dim=0).numpy()
        data.qpos[:] = qpos[row]
        mujoco.mj_kinematics(model, data)
        data.qpos[48:51] = data.geom_xpos[tip] + 0.08 * direction
        mujoco.mj_kinematics(model, data)
        distance = mujoco.mj_geomDistance(model, data, thing, tip, 1.0, ends)
        data.qpos[48:51] += (ends[3:] - ends[:3]) * (1.0 + 1e-4 / distance)  # 0.1 mm deep
        qpos[row, 48:51] = torch.from_numpy(data.qpos[48:51])
    env.physics.set_state(everyone, qpos, qvel)
    env.physics.forward(everyone)
    env.physics.qpos.copy_(qpos)
    env.physics.qvel.copy_(qvel)


def expected_states(model, env):
    """Labels [398] and expected values [E, 398] of all rows."""
    rows = [expected_state(model, env, row) for row in range(env.spec.num_envs)]
    expected = np.array([values for _, values in rows])
    assert expected.shape == (env.spec.num_envs, STATE)
    return np.array(rows[0][0]), expected


def compare(state, labels, expected, kind):
    """State [N, 398] against the expected values; the fingertips' wrenches alone or all but them."""
    chosen = np.flatnonzero((labels == "wrench") == (kind == "wrench"))
    difference = np.abs(state.double().numpy() - expected.clip(-5.0, 5.0))
    wrong = [i for i in chosen if difference[:, i].max() > 1e-4]
    worst = difference.argmax(0)
    assert not wrong, "\n".join(
        f"index {i} {labels[i]}: got {state[worst[i], i]:.6f}, expected {expected[worst[i], i]:.6f}" for i in wrong
    )


@pytest.fixture(scope="module")
def scrambled(model):
    """An environment of 110 rows in random states, and what is expected of each."""
    env = make(110)
    scramble(env, model, seed=0)
    return env, expected_states(model, env)


@pytest.mark.parametrize("kind", ["all but wrenches", "wrench"])
def test_every_index_of_the_state(scrambled, kind):
    env, (labels, expected) = scrambled
    obs, state = env.observe()
    assert state.shape == (110, 1, STATE) and [o.shape for o in obs] == [(110, BLOCK + TAIL)] * 2
    compare(state[:, 0], labels, expected, kind)
    for side in range(2):
        own = state[:, 0, side * BLOCK : (side + 1) * BLOCK]
        assert torch.equal(obs[side], torch.cat((own, state[:, 0, 2 * BLOCK :]), dim=1))


def test_the_random_states_show_every_index(scrambled):
    """Neither zero nor clipped in some row, but for joints without an actuator and the goal's x, which is 0."""
    labels, expected = scrambled[1]
    shown = ((np.abs(expected) > 1e-4) & (np.abs(expected) < 4.9)).any(0)
    coupled = [48 + j for j, row in enumerate(JOINTS) if not row[3]]
    assert np.flatnonzero(~shown).tolist() == coupled + [BLOCK + j for j in coupled] + [387]
    assert (labels == "wrench").sum() == 60


@pytest.mark.parametrize("kind", ["all but wrenches", "wrench"])
def test_state_after_steps_and_through_a_reset(model, kind):
    env = make(6)
    everyone = torch.ones(6, dtype=torch.bool)
    state = env.reset(3).state
    compare(state[:, 0], *expected_states(model, env), kind)
    random = torch.Generator().manual_seed(0)
    for _ in range(12):
        action = 2.0 * torch.rand(6, 40, generator=random) - 1.0
        env.step(action.split(20, dim=1))
    env.physics.set_state(everyone, env.physics.qpos, env.physics.qvel)  # the solver starts anew, as the test's does
    env.physics.forward(everyone)
    compare(env.observe()[1][:, 0], *expected_states(model, env), kind)
    put_object(env, 2, (0.0, -0.39, 0.1))
    step = env.step(action.split(20, dim=1))
    assert step.terminated.tolist() == [False, False, True, False, False, False]
    labels, expected = expected_states(model, env)
    compare(step.state[2:3, 0], labels, expected[2:3], kind)


def test_state_is_clipped():
    env = make(2)
    env.physics.set_state(torch.ones(2, dtype=torch.bool), env.physics.qpos, torch.full_like(env.physics.qvel, 80.0))
    env.physics.qvel.fill_(80.0)
    state = env.observe()[1][:, 0]
    assert float(state.abs().max()) == 5.0 and (state[:, 24:48] == 5.0).all() and (state[:, 381:384] == 5.0).all()


# Actions


def drive(env, action):
    """Control by actuator name after acting with `action` A x [width], in the first row."""
    env.act(torch.cat([torch.as_tensor(a, dtype=torch.float32) for a in action])[None].expand(env.spec.num_envs, -1))
    return {env.physics.model.actuator(i).name: float(env.physics.ctrl[0, i]) for i in range(40)}


@pytest.mark.parametrize("action,share", [(-1.0, 0.0), (0.0, 0.5), (0.5, 0.75), (1.0, 1.0), (7.0, 1.0), (-7.0, 0.0)])
def test_actions_span_the_joint_range(action, share):
    env = make(1)
    ctrl = drive(env, [[action] * 20] * 2)
    for side in ("right", "left"):
        for joint, low, high, kp, _ in JOINTS:
            if kp:
                assert ctrl[named(side, "A_" + joint)] == pytest.approx(low + share * (high - low), abs=1e-6)
    assert env.action.unique().tolist() == [max(-1.0, min(1.0, action))]


@pytest.mark.parametrize(
    "agents,groups",
    [
        ("hands", ["palm+FF+MF+RF+LF+TH"]),
        ("fingers", ["palm", "FF", "MF", "RF", "LF", "TH"]),
        ("palm+FF+MF,RF+LF+TH", ["palm+FF+MF", "RF+LF+TH"]),
        ("TH+palm,FF+MF+RF+LF", ["TH+palm", "FF+MF+RF+LF"]),
    ],
)
def test_agents_drive_the_joints_of_their_parts(agents, groups):
    env = make(2, agents=agents)
    joints = [
        [named(side, "A_" + joint) for part in group.split("+") for joint in PART_JOINTS[part]]
        for side in ("right", "left")
        for group in groups
    ]
    assert env.spec.actions == tuple(Box(len(own)) for own in joints)
    assert env.spec.num_agents == len(set(env.spec.agents)) == 2 * len(groups)
    assert [name.split()[0] for name in env.spec.agents] == ["right"] * len(groups) + ["left"] * len(groups)
    random = np.random.default_rng(0)
    action = [random.uniform(-1, 1, len(own)) for own in joints]
    ctrl = drive(env, action)
    limits = {row[0]: row[1:3] for row in JOINTS}
    for own, values in zip(joints, action):
        for name, value in zip(own, values):
            low, high = limits[name.split("A_")[1]]
            assert ctrl[name] == pytest.approx(low + (value + 1) / 2 * (high - low), abs=1e-6)
    slots = {name: value for own, values in zip(joints, action) for name, value in zip(own, values)}
    step = env.step(tuple(torch.tensor(values, dtype=torch.float32).expand(2, -1) for values in action))
    for i, obs in enumerate(step.obs):
        side = ("right", "left")[i >= len(groups)]
        expected = [slots[named(side, "A_" + joint)] for joint in ACTUATED]
        assert obs.shape == (2, BLOCK + TAIL) and obs[0, 167:187].tolist() == pytest.approx(expected, abs=1e-6)


def test_finger_agents_have_the_widths_of_their_parts():
    spec = make(1, agents="fingers").spec
    assert [space.size for space in spec.actions] == [2, 3, 3, 3, 4, 5] * 2


@pytest.mark.parametrize(
    "agents", ["", "thumbs", "palm+FF", "palm+FF+MF,RF+LF+TH+TH", "hands,fingers", "palm,FF,MF,RF,LF,th"]
)
def test_wrong_groups_are_refused_with_the_parts(agents):
    with pytest.raises(ValueError, match="hands, fingers.*palm, FF, MF, RF, LF, TH"):
        hand_groups(agents)


def test_a_hand_is_data():
    """Another order of the joints and other limits: observations, targets and starts follow the names."""

    class Other(ShadowHandOver):
        hand = dataclasses.replace(
            SHADOW_HAND,
            joints=SHADOW_HAND.joints[::-1],
            parts=dict(reversed(SHADOW_HAND.parts.items())),
            limits={"WRJ1": (-0.25, 0.5)},
        )

    env = Other(ShadowHandOverCfg(joint_noise=0.0), 2, CPU, "mujoco")
    model = env.physics.model
    assert model.joint(named("left", "WRJ1")).range == pytest.approx([-0.25, 0.5])
    step = env.reset(0)
    assert step.obs[1][0, 23].item() == pytest.approx(-1 / 3)  # the wrist comes last; 0 is a third of its range
    action = torch.zeros(2, 40)
    action[:, 20] = 1.0  # the left thumb's first joint
    env.act(action)
    assert env.physics.ctrl[0, model.actuator(named("left", "A_THJ4")).id].item() == pytest.approx(1.047)
    assert env.physics.ctrl[0, model.actuator(named("right", "A_THJ4")).id].item() == pytest.approx(0.0)


# Reward


def over_reward(pos, quat, goal_pos, goal_quat):
    distance = (pos - goal_pos).norm(dim=1)
    return closeness(distance, rotation_angle(quat, goal_quat), ShadowHandOver.distance_scale)


def test_reward_is_the_literal_one():
    quats = random_quats(200, 0)
    goals = random_quats(200, 1)
    pos = 0.3 * torch.randn(200, 3, generator=torch.Generator().manual_seed(2))
    goal_pos = pos + 0.05 * torch.randn(200, 3, generator=torch.Generator().manual_seed(3))
    expected = [literal_closeness(*row) for row in zip(pos.tolist(), quats, goal_pos.tolist(), goals)]
    assert over_reward(pos, quats, goal_pos, goals).tolist() == pytest.approx(expected, rel=5e-4)
    assert torch.allclose(over_reward(pos, -quats, goal_pos, goals), over_reward(pos, quats, goal_pos, goals))
    best = over_reward(pos, quats, pos, quats)
    assert best.tolist() == pytest.approx([1.0] * 200, abs=1e-5) and float(best.max()) <= 1.0


def test_a_step_pays_the_reward_of_the_state_it_reaches():
    env = make(3)
    env.reset(5)
    step = env.step(still(env))
    pos = env.physics.qpos[:, 48:51].tolist()
    quat = env.physics.qpos[:, [52, 53, 54, 51]]
    expected = [
        literal_closeness(*row) for row in zip(pos, quat, env.goals["goal"].pos.tolist(), env.goals["goal"].quat)
    ]
    assert step.reward.shape == (3, 1) and step.reward[:, 0].tolist() == pytest.approx(expected, rel=5e-4)


def test_quaternion_helpers_are_the_literal_ones():
    a = random_quats(50, 0)
    b = random_quats(50, 1)
    v = torch.randn(50, 3, generator=torch.Generator().manual_seed(2))
    u = 2.0 * torch.rand(50, 2, generator=torch.Generator().manual_seed(3)) - 1.0
    for i in range(50):
        assert quat_mul(a, b)[i].tolist() == pytest.approx(product(a[i].tolist(), b[i].tolist()), abs=1e-6)
        assert matrix(quat_conj(a)[i]) == pytest.approx(matrix(a[i]).T, abs=1e-6)
        assert rotate(a, v)[i].tolist() == pytest.approx(matrix(a[i]) @ v[i].double().numpy(), abs=1e-5)
        theta = math.acos((np.trace(matrix(a[i]) @ matrix(b[i]).T) - 1.0) / 2.0)
        assert float(rotation_angle(a, b)[i]) == pytest.approx(theta, abs=2e-3)
        (sx, cx), (sy, cy) = [(math.sin(math.pi * x), math.cos(math.pi * x)) for x in u[i].tolist()]
        about_x = [[1, 0, 0], [0, cx, -sx], [0, sx, cx]]
        about_y = [[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]]
        assert matrix(tumbled(u)[i]) == pytest.approx(np.array(about_x) @ np.array(about_y), abs=1e-6)


def test_the_originals_noise_is_that_of_both_hands_and_leaves_the_limits():
    env = make(64, compat="original")
    env.reset(0)
    joints = env.physics.qpos[:, :48]
    assert torch.equal(joints[:, :24], joints[:, 24:])
    assert float(joints[:, 3].min()) < -0.2  # FFJ2's lower limit is 0


def test_an_unknown_compat_is_refused():
    with pytest.raises(ValueError, match="task.compat=foo; possible: fixed, original"):
        make(1, compat="foo")


# Ends


def test_an_object_at_or_below_the_drop_height_ends_the_episode():
    env = make(3)
    env.physics.qpos[:, 50] = torch.tensor([0.2001, 0.2, 0.1999])
    env.evaluate()
    assert env.terminated().tolist() == [False, True, True]
    env.reset(0)
    put_object(env, 1, (0.0, -0.39, 0.19))
    put_object(env, 2, (1.0, -0.39, 0.25))
    ends = [env.step(still(env)).terminated.tolist() for _ in range(8)]
    assert ends[0] == [False, True, False]
    assert [row[2] for row in ends].index(True) == 5  # 0.05 m of free fall take 0.101 s


def test_success_is_strictly_closer_than_three_centimeters():
    env = make(3)
    env.goals["goal"].pos.zero_()
    env.physics.qpos[:, 48:51] = torch.tensor([[0.02999, 0, 0], [0.03, 0, 0], [0, 0, -0.03001]])
    env.evaluate()
    assert env.succeeded().tolist() == [True, False, False]


def test_time_limit_success_and_new_episodes():
    """Rows: 0 lasts, 1 drops in step 75, 2 drops in step 10, 3 passes the goal in step 20. Objects fall from 30 m."""
    env = make(4)
    ends = []
    success = []
    assert env.spec.metrics == ("success", "diverged", "overflow", "unconverged") and env.spec.max_episode_steps == 75
    env.reset(0)
    for row in range(4):
        put_object(env, row, (3.0, 3.0, 30.0))
    for number in range(1, 86):
        for row in [row for row, at in ((1, 75), (2, 10)) if at == number]:
            put_object(env, row, (3.0, 3.0, 0.1))
        if number == 11:
            put_object(env, 2, (3.0, 3.0, 30.0))
        if number == 20:
            put_object(env, 3, env.goals["goal"].pos[3])
        if number == 21:
            put_object(env, 3, (3.0, 3.0, 30.0))
        step = env.step(still(env))
        assert set(step.metrics) == set(env.spec.metrics) and not step.metrics["diverged"].any()
        success.append(step.metrics["success"].tolist())
        ends += [(number, row, "late") for row in range(4) if step.truncated[row]]
        ends += [(number, row, "lost") for row in range(4) if step.terminated[row]]
        if number == 75:
            for row in (0, 1, 3):
                put_object(env, row, (3.0, 3.0, 30.0))
    assert ends == [(10, 2, "lost"), (75, 0, "late"), (75, 3, "late"), (75, 1, "lost"), (85, 2, "late")]
    assert [row[3] for row in success] == [0.0] * 19 + [1.0] * 56 + [0.0] * 10
    assert not any(value for row in success for value in row[:3])


def test_next_obs_is_the_old_episode_and_obs_the_new_one():
    """Beside a twin that never ends an episode."""
    env = make(4)
    twin = make(4)
    twin.terminated = lambda: torch.zeros(4, dtype=torch.bool)
    for one in (env, twin):
        one.reset(9)
        put_object(one, 1, (1.0, 1.0, 0.15))
        one.last = one.step(still(one))
    step = env.last
    old = twin.last
    assert step.done.tolist() == [False, True, False, False] and not old.done.any()
    assert torch.equal(step.next_state, old.state) and all(map(torch.equal, step.next_obs, old.obs))
    assert torch.equal(step.reward, old.reward)
    same = [0, 2, 3]
    assert torch.equal(step.state[same], old.state[same])
    assert torch.equal(env.physics.qpos[same], twin.physics.qpos[same])
    new = step.state[1, 0]
    assert (new[374:377] - torch.tensor([0.0, -0.39, 0.54])).abs().max() <= 0.0101
    assert not new[24:48].any() and not new[167:187].any() and not new[381:387].any()
    assert all(torch.equal(step.obs[i][1], torch.cat((new[i * BLOCK : (i + 1) * BLOCK], new[374:]))) for i in range(2))
    assert not torch.equal(step.next_state[1, 0, 390:394], new[390:394])


def test_a_diverged_row_starts_again_alone():
    env = make(3)
    twin = make(3)
    for one in (env, twin):
        one.reset(1)
    nowhere = torch.full_like(env.physics.qpos, math.nan)
    env.physics.set_state(torch.tensor([False, True, False]), nowhere, env.physics.qvel)
    step = env.step(still(env))
    healthy = twin.step(still(twin))
    assert step.metrics["diverged"].tolist() == [0.0, 1.0, 0.0] and int(env.diverged_count) == 1
    assert step.terminated.tolist() == [False, True, False] and float(step.reward[1]) == 0.0
    assert not step.metrics["success"].any()
    assert torch.isfinite(step.state).all() and torch.isfinite(step.next_state).all()
    assert torch.equal(step.state[[0, 2]], healthy.state[[0, 2]])
    assert torch.isfinite(env.step(still(env)).state).all()


# Resets


def test_reset_noise(model):
    env = make(512)
    first = env.reset(0)
    pos = env.physics.qpos[:, 48:51] - torch.tensor([0.0, -0.39, 0.54])
    quat = env.signals.pose("object").quat
    for axis in range(3):
        assert -0.0101 <= float(pos[:, axis].min()) < -0.0095 and 0.0095 < float(pos[:, axis].max()) <= 0.0101
    for q in (quat, env.goals["goal"].quat):  # Rx(a) Ry(b): x y = z w; a and b are all of (-pi, pi)
        assert q.norm(dim=1).tolist() == pytest.approx([1.0] * 512, abs=1e-5)
        assert (q[:, 0] * q[:, 1] - q[:, 2] * q[:, 3]).abs().max() < 1e-6
        for angle in (2 * torch.atan2(q[:, 0], q[:, 3]), 2 * torch.atan2(q[:, 1], q[:, 3])):
            assert float(angle.min()) < -3.0 and float(angle.max()) > 3.0
    assert not env.physics.qvel.any() and not env.action.any() and not env.progress.any()
    assert torch.equal(env.goals["goal"].pos, torch.tensor([0.0, -0.64, 0.54]).expand(512, 3))
    assert torch.equal(env.physics.mocap_pos[:, 0], env.goals["goal"].pos)
    assert torch.equal(env.physics.mocap_quat[:, 0], env.goals["goal"].quat[:, [3, 0, 1, 2]])
    assert not first.reward.any() and not first.done.any() and torch.equal(first.state, first.next_state)
    joints = env.physics.qpos[:, :48].view(512, 2, 24)
    for i, (_, low, high, _, _) in enumerate(JOINTS):
        least = max(low, 0.2 * (low - (high - low)))
        most = min(high, 0.2 * (low + (high - low)))
        for angle in (joints[:, 0, i], joints[:, 1, i]):
            assert least - 1e-6 <= float(angle.min()) <= least + 0.02 * (high - low)
            assert most - 0.02 * (high - low) <= float(angle.max()) <= most + 1e-6
    both = (joints - joints.mean(0)).permute(1, 2, 0).reshape(48, 512)
    assert (torch.corrcoef(both)[:24, 24:].abs() < 0.25).all()  # drawn for each hand


def test_targets_start_at_the_joint_angles():
    """Else the first observation shows torques towards the last targets of the episode before."""
    env = make(3)
    env.reset(0)
    env.step(tuple(torch.ones(3, 20) for _ in range(2)))
    state = env.reset(1).state[:, 0]
    assert state[:, 48:72].abs().max() < 1e-4 and state[:, BLOCK + 48 : BLOCK + 72].abs().max() < 1e-4


def test_noise_settings_can_be_zero():
    env = make(2, joint_noise=0.0, position_noise=0.0)
    env.reset(0)
    assert not env.physics.qpos[:, :48].any()
    assert env.physics.qpos[:, 48:51].tolist() == [pytest.approx([0.0, -0.39, 0.54])] * 2


def test_a_reset_touches_only_its_rows():
    env = make(5)
    mask = torch.tensor([False, True, False, True, False])
    env.reset(0)
    for _ in range(3):
        env.step(tuple(torch.full((5, 20), 0.3) for _ in range(2)))
    env.progress.fill_(3)
    env.success.fill_(True)
    watched = {
        "qpos": env.physics.qpos,
        "qvel": env.physics.qvel,
        "sensors": env.physics.sensors,
        "mocap": env.physics.mocap_quat,
        "action": env.action,
        "goal position": env.goals["goal"].pos,
        "goal": env.goals["goal"].quat,
        "progress": env.progress,
        "success": env.success,
    }
    before = {name: value.clone() for name, value in watched.items()}
    env._start_episodes(mask)
    for name, new in watched.items():
        assert torch.equal(before[name][~mask], new[~mask]), name
        assert name == "goal position" or not torch.equal(before[name][mask], new[mask]), name


def rollout(env, seed):
    random = torch.Generator().manual_seed(1)
    states = [env.reset(seed).state]
    for _ in range(40):
        action = 2.0 * torch.rand(env.spec.num_envs, 40, generator=random) - 1.0
        states.append(env.step(action.split(20, dim=1)).state)
    return torch.stack(states)


def test_seeds_repeat():
    first = rollout(make(4), seed=11)
    assert torch.equal(first, rollout(make(4), seed=11))
    assert not torch.equal(first, rollout(make(4), seed=12))


def test_seeds_repeat_in_a_used_environment():
    env = make(4)
    assert torch.equal(rollout(env, seed=11), rollout(env, seed=11))


def test_a_new_episode_shows_nothing_of_the_old_actions():
    env = make(2)
    other = make(2)
    for one, value in ((env, -1.0), (other, 1.0)):
        one.reset(0)
        one.step(tuple(torch.full((2, 20), value) for _ in range(2)))
    assert torch.equal(env.reset(7).state, other.reset(7).state)
