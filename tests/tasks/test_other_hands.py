"""Hands of other makes: their models, and the tasks with them; test_hand_files.py has where the models are found.

Tests skip where no model is found. Expected values are read by name, or computed literally in float64.
"""

import math
import re
import shutil

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
from support.hand_reference import (
    SIDES,
    goal_of,
    labeled,
    literal_closeness,
    random_quats,
    state_of,
    throw_block,
    tip_wrench,
    velocity,
    xyzw,
)
from support.marks import needs_warp
from support.mujoco_or_skip import mujoco

from harl_isaac.env import Box
from harl_isaac.tasks.hands.allegro_hand import ALLEGRO_HAND
from harl_isaac.tasks.hands.hand import GainsCfg, PhysicsCfg
from harl_isaac.tasks.hands.hand_files import hand_model
from harl_isaac.tasks.hands.leap_hand import LEAP_HAND
from harl_isaac.tasks.hands.partition import hand_groups
from harl_isaac.tasks.hands.signals import Pose

NAMES = ("AllegroHandOver", "LeapHandOver")
HANDS = {"AllegroHandOver": ALLEGRO_HAND, "LeapHandOver": LEAP_HAND}
FILES = {"AllegroHandOver": "wonik_allegro", "LeapHandOver": "leap_hand"}
BLOCKS = {"AllegroHandOver": 183, "LeapHandOver": 140}
FINGER = [(-0.57, 0.57), (-0.296, 1.71), (-0.274, 1.809), (-0.327, 1.718)]
THUMB = [(0.364, 1.497), (-0.205, 1.13), (-0.29, 1.633), (-0.262, 1.82)]
ALLEGRO = [f"{digit}j{i}" for digit in ("ff", "mf", "rf", "th") for i in range(4)]
LEAP_FINGER = [("mcp", -0.314, 2.23), ("rot", -1.047, 1.047), ("pip", -0.506, 1.885), ("dip", -0.366, 2.042)]
LEAP_THUMB = [("cmc", -0.349, 2.094), ("axl", -0.349, 2.094), ("mcp", -0.47, 2.443), ("ipl", -1.34, 1.88)]
# Joints and their limits [rad].
JOINTS = {
    "AllegroHandOver": list(zip(ALLEGRO, 3 * FINGER + THUMB)),
    "LeapHandOver": [(f"{d}_{j}", (low, high)) for d in ("if", "mf", "rf") for j, low, high in LEAP_FINGER]
    + [(f"th_{j}", (low, high)) for j, low, high in LEAP_THUMB],
}
each_task = pytest.mark.parametrize("name", NAMES)


# Models.


def other_copy(name, folder):
    """The file that is found, as another source may have it: without a free joint, elsewhere, with other drives."""
    source = hand_model(FILES[name])
    shutil.copytree(source[: -len("/right_hand.xml")], folder / FILES[name])
    path = folder / FILES[name] / "right_hand.xml"
    text = path.read_text()
    changes = [
        ("<freejoint/>", ""),
        (r'<body name="palm"(?: pos="[^"]*")? quat="[^"]*"', '<body name="palm" pos="0 0 0.1" quat="0 1 0 1"'),
        (r'<position kp="[^"]*"(?: kv="[^"]*")?', '<position kp="10"'),
        (r'damping="[^"]*"', 'damping="1" armature="0.1"'),
        (r' pos="0 0 -0.018"', ""),
        (r"<option [^>]*>", ""),
    ]
    for old, new in changes:
        text = re.sub(old, new, text)
    path.write_text(text)


@each_task
def test_copies_of_a_file_give_one_model(name, tmp_path, monkeypatch):
    first = make_task(name, 1).physics.model
    other_copy(name, tmp_path)
    monkeypatch.setenv("MENAGERIE_ROOT", str(tmp_path))
    second = make_task(name, 1).physics.model
    for field in ("body_mass", "body_inertia", "body_pos", "body_quat", "geom_size", "geom_pos", "geom_solref"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field), err_msg=field)
    for field in ("jnt_range", "dof_damping", "dof_armature", "actuator_gainprm", "actuator_biasprm", "pair_geom1"):
        np.testing.assert_array_equal(getattr(first, field), getattr(second, field), err_msg=field)
    assert first.opt.impratio == second.opt.impratio == 1.0 and first.opt.cone == second.opt.cone


@each_task
def test_joints_limits_and_drives(name):
    gains = GainsCfg(kp=2.0, force=3.0, damping=4.0)
    for scales, physics in (((1.0, 1.0, 1.0), None), ((2.0, 3.0, 4.0), PhysicsCfg(gains=gains))):
        model = make_task(name, 1, **({"physics": physics} if physics else {})).physics.model
        assert model.nu == 32 and model.nmesh == 0
        for side in SIDES:
            for joint, limits in JOINTS[name]:
                each = model.joint(f"{side}/{joint}")
                actuator = model.actuator(f"{side}/{joint}")
                assert each.range == pytest.approx(limits) and actuator.ctrlrange == pytest.approx(limits)
                assert actuator.trnid[0] == each.id
                assert actuator.gainprm[0] == pytest.approx(3.0 * scales[0])
                assert actuator.biasprm[:3] == pytest.approx([0.0, -3.0 * scales[0], -0.1 * scales[2]])
                assert actuator.forcerange == pytest.approx([-0.5 * scales[1], 0.5 * scales[1]])
                dof = each.dofadr[0]
                assert (model.dof_damping[dof], model.dof_frictionloss[dof]) == (0.0, 0.0)
                assert model.dof_armature[dof] == 0.001
    assert [f"{joint}" for joint, _ in JOINTS[name]] == list(HANDS[name].joints) == list(HANDS[name].actuated)


@each_task
def test_palms_face_up_and_fingers_face_each_other(name):
    """Bent from zero every finger rises; the egg is above the right fingers, its goal above the left ones."""
    env = make_task(name, 1)
    model = env.physics.model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    flat = {tip: data.body(tip).xpos.copy() for tip in tips_of(name)}
    starts = {"right": np.array([0.0, -0.1, 0.56]), "left": np.array([0.0, -0.35, 0.56])}
    for side in SIDES:
        fingers = np.array([flat[f"{side}/{part} tip"] for part in ("index", "middle", "ring")])
        palm = data.body(f"{side}/palm").xpos + data.body(f"{side}/palm").xmat.reshape(3, 3) @ env.hand.palm_point
        assert fingers[:, 2] == pytest.approx(0.5, abs=0.015)
        towards = fingers.mean(0) - palm
        assert abs(towards[0]) < 0.02 and (towards[1] < -0.1) == (side == "right") and abs(towards[1]) > 0.1
        between = (starts[side] - palm)[:2]
        assert abs(between[0]) < 0.02 and 0.05 < abs(between[1]) < abs(towards[1])
        assert 0.5 < palm[2] < 0.525  # the egg's lowest point is 0.52 or higher
    mujoco.mj_resetData(model, data)
    for side in SIDES:
        for joints in list(env.hand.parts.values())[:3]:
            data.qpos[[model.joint(f"{side}/{joint}").qposadr[0] for joint in joints[2:]]] = 0.5
    mujoco.mj_forward(model, data)
    for tip in tips_of(name):
        rise = data.body(tip).xpos[2] - flat[tip][2]
        assert (rise > 0.02) == ("thumb" not in tip)


def tips_of(name):
    """Bodies of all fingertips."""
    return [f"{side}/{part} tip" for side in SIDES for part in HANDS[name].parts]


@each_task
def test_who_meets_whom(name):
    """The object meets all but its goal. Of a hand the tips meet tips, the palm and other digits' middle links."""
    model = make_task(name, 1).physics.model
    kinds = model.geom_contype
    partners = model.geom_conaffinity
    names = [model.geom(i).name for i in range(model.ngeom)]
    thing = names.index("object")
    hands = [i for i in range(model.ngeom) if names[i] not in ("object", "goal", "floor")]
    assert all(kinds[thing] & partners[i] or kinds[i] & partners[thing] for i in [*hands, names.index("floor")])
    assert not any(kinds[a] & partners[b] for a in hands for b in hands)
    shapes = {int(model.geom_type[i]) for i in hands}
    assert shapes == {int(mujoco.mjtGeom.mjGEOM_CAPSULE), int(mujoco.mjtGeom.mjGEOM_BOX)}
    pairs = [
        {model.body(int(model.geom_bodyid[g])).name for g in pair} for pair in zip(model.pair_geom1, model.pair_geom2)
    ]
    middles = {part: ALLEGRO_MIDDLES[part] if name[0] == "A" else LEAP_MIDDLES[part] for part in ALLEGRO_MIDDLES}
    expected = []
    for side in SIDES:
        for part in middles:
            expected += [{f"{side}/{part} tip", f"{side}/palm"}]
            expected += [{f"{side}/{part} tip", f"{side}/{middle}"} for p, middle in middles.items() if p != part]
            expected += [{f"{side}/{part} tip", f"{side}/{p} tip"} for p in middles if p < part]
    assert sorted(map(sorted, pairs)) == sorted(map(sorted, expected)) and len(pairs) == 44


ALLEGRO_MIDDLES = {"index": "ff_medial", "middle": "mf_medial", "ring": "rf_medial", "thumb": "th_medial"}
LEAP_MIDDLES = {"index": "if_md", "middle": "mf_md", "ring": "rf_md", "thumb": "th_px"}


@each_task
def test_fingertips_are_the_capsules_of_their_bounds(name):
    """Of a mesh: as long and as wide as its bounds. All fingers' are alike, beside each other at one distance."""
    model = make_task(name, 1).physics.model
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    radius, half = (0.012, 0.01) if name[0] == "A" else (0.01165, 0.00405)
    for tip in tips_of(name):
        size = model.geom(tip).size
        assert size[0] == pytest.approx(radius, abs=2e-4)
        assert size[1] == pytest.approx(0.008 if name[0] == "A" and "thumb" in tip else half, abs=4e-4)
        assert model.body(tip).mass[0] == 0.0
        axis = data.geom(tip).xmat.reshape(3, 3)[:, 2]
        assert abs(axis[1 if "thumb" not in tip else 0]) > 0.9 or "thumb" in tip  # along the finger
    places = [data.body(f"right/{part} tip").xpos for part in ("index", "middle", "ring")]
    gaps = [abs(places[i + 1][0] - places[i][0]) for i in range(2)]
    assert gaps[0] == pytest.approx(gaps[1], abs=1e-3) and 0.04 < gaps[0] < 0.06


def test_masses():
    allegro = make_task("AllegroHandOver", 1).physics.model
    leap = make_task("LeapHandOver", 1).physics.model
    for model, mass in ((allegro, 0.6445), (leap, 0.746)):
        for side in SIDES:
            bodies = [i for i in range(model.nbody) if model.body(i).name.startswith(side)]
            assert sum(model.body_mass[bodies]) == pytest.approx(mass, abs=1e-3)
    data = mujoco.MjData(allegro)
    mujoco.mj_forward(allegro, data)
    assert data.qfrc_passive[:32] == pytest.approx(data.qfrc_bias[:32], abs=1e-9)  # gravity is off on the hands


# Observations and actions.


def joint_parts(name, model, data, side):
    """Scaled angles and 0.2 x velocities."""
    joints = [(model.joint(f"{side}/{joint}"), low, high) for joint, (low, high) in JOINTS[name]]
    angles = [(2 * data.qpos[j.qposadr[0]] - high - low) / (high - low) for j, low, high in joints]
    return angles, [0.2 * data.qvel[j.dofadr[0]] for j, _, _ in joints]


def expected_block(name, model, data, side, last_action):
    """A hand's part of the state, with labels."""
    angles, rates = joint_parts(name, model, data, side)
    parts = [("angle", angles), ("rate", rates)]
    if name == "AllegroHandOver":
        return [*parts, ("zero", np.zeros(135)), ("action", last_action)]
    dofs = [model.joint(f"{side}/{joint}").dofadr[0] for joint, _ in JOINTS[name]]
    tips = [model.body(f"{side}/{part} tip").id for part in HANDS[name].parts]
    parts += [("torque", 10.0 * data.qfrc_actuator[dofs])]
    parts += [("tip", np.concatenate((data.xpos[t], xyzw(data.xquat[t]), velocity(model, data, t)))) for t in tips]
    return [*parts, *(("wrench", 10.0 * tip_wrench(model, data, t)) for t in tips), ("action", last_action)]


def expected_state(name, env, row):
    model = env.physics.model
    data = state_of(model, env, row)
    parts = []
    for side, last_action in zip(SIDES, env.action[row].double().numpy().reshape(2, 16)):
        parts += expected_block(name, model, data, side, last_action)
    return labeled(parts + throw_block(model, data, "object", goal_of(env, "goal", row)))


@each_task
def test_every_index_of_the_state(name):
    env = make_task(name, 6, joint_noise=0.2)
    check_every_index(env, random_actions(env, 4, 1), lambda row: expected_state(name, env, row))


@each_task
def test_widths_and_agents(name):
    width = BLOCKS[name] + 24
    spec = make_task(name, 1).spec
    assert spec.obs_sizes == (width, width) and spec.state_size == 2 * BLOCKS[name] + 24
    assert spec.actions == (Box(16), Box(16)) and spec.max_episode_steps == 75
    fingers = make_task(name, 1, agents="fingers").spec
    assert fingers.actions == (Box(4),) * 8
    assert fingers.agents[:4] == ("right index", "right middle", "right ring", "right thumb")
    assert make_task(name, 1, agents="thumb,index+middle+ring").spec.actions == (Box(4), Box(12)) * 2
    with pytest.raises(ValueError, match=r"index, middle, ring, thumb once, such as index\+middle,ring\+thumb$"):
        hand_groups("palm+FF", HANDS[name])


@each_task
def test_actions_span_the_limits(name):
    env = make_task(name, 1, agents="fingers")
    values = torch.linspace(-1.0, 1.0, 32)[None]
    env.act(values)
    model = env.physics.model
    for number, value in enumerate(values[0].tolist()):
        joint, (low, high) = JOINTS[name][number % 16]
        column = model.actuator(f"{SIDES[number // 16]}/{joint}").id
        assert float(env.physics.ctrl[0, column]) == pytest.approx(low + (value + 1) / 2 * (high - low), abs=1e-6)


# Starts, rewards, ends.


@each_task
def test_starts(name):
    """The object within 5 mm of its start; joints at zero, or at the limit nearest to it."""
    env = make_task(name, 128)
    env.reset(0)
    offset = env.signals.pose("object").pos - torch.tensor([0.0, -0.1, 0.56])
    assert 0.0045 < float(offset.abs().max()) <= 0.0050001
    assert torch.allclose(env.goals["goal"].pos, torch.tensor([0.0, -0.35, 0.56]).expand(128, 3), atol=1e-6)
    assert float(env.goals["goal"].quat.std()) > 0.3 and float(env.signals.pose("object").quat.std()) > 0.3
    nearest = [min(max(0.0, low), high) for _, (low, high) in JOINTS[name]] * 2
    assert torch.allclose(env.physics.qpos[:, env._joints], torch.tensor(nearest).expand(128, 32))
    original = make_task(name, 2, compat="original")
    original.reset(0)
    assert not original.physics.qpos[:, original._joints].any()


class Values:
    """A pose and a goal at random, as a verdict reads them."""

    def __init__(self, rows):
        random = torch.Generator().manual_seed(0)
        goal = torch.tensor([0.0, -0.35, 0.56]) + 0.2 * torch.randn(rows, 3, generator=random)
        away = torch.logspace(-3, -0.5, rows)[:, None] * torch.randn(rows, 3, generator=random)
        self.poses = {"object": Pose(goal + away, random_quats(rows, 1)), "goal": Pose(goal, random_quats(rows, 2))}
        self.pose = self.goal = self.poses.__getitem__


@each_task
def test_verdicts_are_the_literal_ones(name):
    values = Values(300)
    verdict = type(make_task(name, 1)).verdict(values)
    counts = np.zeros(2)
    for row in range(300):
        literal = [part[row].double().tolist() for pose in values.poses.values() for part in pose]
        distance = math.dist(literal[0], literal[2])
        assert float(verdict.reward[row]) == pytest.approx(literal_closeness(*literal, 50.0), rel=1e-3, abs=1e-6)
        assert bool(verdict.success[row]) == (distance < 0.03)
        assert bool(verdict.failed[row]) == (literal[0][2] <= 0.2)
        counts += (distance < 0.03, literal[0][2] <= 0.2)
    assert (counts > 5).all() and (counts < 295).all()


@pytest.mark.parametrize("compat, near", [("fixed", True), ("original", False)])
def test_success_of_the_original_never_counts(compat, near):
    env = make_task("AllegroHandOver", 3, compat=compat)
    env.reset(0)
    columns = env.signals.columns("object")
    env.physics.qpos[:, columns][:, :3] = env.goals["goal"].pos + torch.tensor([[0.0], [0.01], [0.02]])
    env.evaluate()
    assert env.succeeded().tolist() == [True, near, False]
    assert float(env.reward()[1]) > float(env.reward()[2]) > 0.0


@each_task
def test_the_start_scene_renders(name, tmp_path):
    check_start_renders(make_task(name, 1), tmp_path)


@needs_warp
@each_task
def test_engines_agree_step_by_step(name):
    one, two = on_both_engines(lambda sim: make_task(name, 3, sim, joint_noise=0.2))
    for action in random_actions(one, 8, 3):
        check_step(one, two, action)
        check_verdicts(one, two, reward=1e-4)
        torch.testing.assert_close(one.observe()[1][..., :32], two.observe()[1][..., :32], atol=1e-3, rtol=0)
    assert not two.physics.overflow.any()
