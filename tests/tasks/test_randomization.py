"""Domain randomization of the hand tasks: what is drawn, what models become, on both engines, and how it is resumed."""

import dataclasses
import math

import mujoco
import numpy as np
import pytest
import torch
from hydra.errors import HydraException
from support.commands import TINY, run
from support.hand_checks import check_step, everyone, make_task, on_both_engines, random_actions
from support.host_reads import NoHostReads
from support.marks import needs_warp
from support.resuming import flat, same, whole_and_resumed

from harl_isaac.cli.overrides import with_free_keys
from harl_isaac.registry import default_settings
from harl_isaac.tasks import TASKS
from harl_isaac.tasks.hands.curriculum import CurriculumCfg
from harl_isaac.tasks.hands.randomization import PRESETS, RandomizationCfg
from harl_isaac.tasks.hands.scene import SceneBuilder

each_engine = pytest.mark.parametrize("sim", ["mujoco", pytest.param("mujoco_warp", marks=needs_warp)])
HANDS = [name for name in TASKS if name.startswith(("ShadowHand", "AllegroHand", "LeapHand"))]
BIDEX = PRESETS["bidex"]
MIXED = {"preset": "bidex", "latency": [0, 3]}


def varied(name, num_envs=4, sim="mujoco", **ranges):
    """A task with randomization."""
    return make_task(name, num_envs, sim, randomization=RandomizationCfg(**ranges))


def values(env):
    """What was drawn for the model, by setting."""
    return env._variation.model.values


# What is drawn.


def test_draws_have_their_distributions():
    env = varied("ShadowHandOver", 2000, preset="bidex", latency=[1, 3])
    env.reset(3)
    drawn = {**values(env), **env._variation.signals.values}
    for name in ("object_mass", "hand_mass", "object_size", "friction"):
        low, high = BIDEX[name]
        value = drawn[name].flatten()
        assert low <= value.min() and value.max() <= high
        spread = (high - low) / math.sqrt(12.0)
        assert float(value.mean()) == pytest.approx((low + high) / 2, abs=5 * spread / math.sqrt(len(value)))
        assert float(value.std()) == pytest.approx(spread, rel=0.05)
    for name in ("stiffness", "damping"):
        low, high = (math.log(limit) for limit in BIDEX[name])
        value = drawn[name].log()
        assert low - 1e-6 <= value.min() and value.max() <= high + 1e-6
        assert float(value.mean()) == pytest.approx((low + high) / 2, abs=0.01)
        assert float(value.std()) == pytest.approx((high - low) / math.sqrt(12.0), rel=0.02)
    for name in ("joint_limits", "gravity", "observation_offset", "action_offset"):
        value = drawn[name]
        assert float(value.mean()) == pytest.approx(0.0, abs=0.05 * BIDEX[name])
        assert float(value.std()) == pytest.approx(BIDEX[name], rel=0.05)
    latencies = drawn["latency"].flatten()
    shares = [float((latencies == steps).float().mean()) for steps in range(5)]
    assert shares == pytest.approx([0.0, 1 / 3, 1 / 3, 1 / 3, 0.0], abs=0.04)
    assert not torch.equal(values(env)["stiffness"][:, 0], values(env)["stiffness"][:, 1])
    assert not torch.equal(values(env)["hand_mass"][:, 0], values(env)["hand_mass"][:, 1])


def test_strength_narrows_the_ranges():
    halves = varied("ShadowHandOver", 500, preset="bidex", strength=0.5)
    halves.reset(3)
    whole = varied("ShadowHandOver", 500, preset="bidex")
    whole.reset(3)
    for name in ("object_mass", "friction"):
        torch.testing.assert_close(values(halves)[name] - 1.0, (values(whole)[name] - 1.0) / 2)
    torch.testing.assert_close(values(halves)["damping"], values(whole)["damping"].sqrt())
    torch.testing.assert_close(values(halves)["gravity"], values(whole)["gravity"] / 2)


@pytest.mark.parametrize("every", [0, 7])
def test_values_stay_for_an_episode_or_for_some_steps(every):
    """Of episodes of three steps: new values at each start, or at the first start after `every` steps."""
    env = make_task(
        "ShadowHandOver", 3, episode_length=3, randomization=RandomizationCfg(object_mass=[0.5, 1.5], every=every)
    )
    env.reset(1)
    seen = [values(env)["object_mass"].clone()]
    for action in random_actions(env, 18, 0):
        env.step(action)
        seen.append(values(env)["object_mass"].clone())
    changed = [step for step in range(1, 19) if not torch.equal(seen[step], seen[step - 1])]
    assert changed == ([3, 6, 9, 12, 15, 18] if every == 0 else [9, 18])


def test_a_seed_repeats_everything_also_while_values_would_stay():
    env = varied("ShadowHandOver", 3, every=1000, **MIXED)
    states = []
    for _ in range(2):
        env.reset(5)
        steps = [env.step(action) for action in random_actions(env, 4, 1)]
        states.append(torch.stack([torch.cat([step.state[:, 0], *step.obs], 1) for step in steps]))
    assert torch.equal(*states)


# What models become.


def edited(env, row):
    """The model of an environment, compiled from a scene whose parts were changed one by one."""
    drawn = {name: value[row].double().numpy() for name, value in values(env).items()}
    hand = env.hand
    scene = SceneBuilder(env.cfg.physics, hand, env.mounts, env.base is not None, env.hands_meet, False)
    if env.base and env.base_point == "palm":
        scene.add_palms()
    env.build(scene)
    spec = scene.spec
    objects = env._variation.model.objects
    for body in spec.bodies:
        root = body
        while root.name != "world" and root.parent.name != "world":
            root = root.parent
        hands = [side for side in (0, 1) if root.name.startswith(("right", "left")[side])]
        mass = drawn["hand_mass"][hands[0]] if hands and root.name not in objects else 1.0
        size = 1.0
        if root.name in objects:
            mass = drawn["object_mass"][objects.index(root.name)]
            if root.joints and root.joints[0].type == mujoco.mjtJoint.mjJNT_FREE:
                size = drawn["object_size"][objects.index(root.name)]
        body.mass *= mass
        body.inertia = np.array(body.inertia) * mass * size**2
        body.ipos = np.array(body.ipos) * size
        if body is not root and body.name != root.name:
            body.pos = np.array(body.pos) * size
        for part in [*body.geoms, *body.sites, *body.joints]:
            part.pos = np.array(part.pos) * size
        for geom in body.geoms:
            geom.size = np.array(geom.size) * size
            geom.mass *= mass
            geom.fromto = np.array(geom.fromto) * size
    for geom in spec.geoms:
        geom.friction = np.array(geom.friction) * drawn["friction"]
    for number, actuator in enumerate(spec.actuators):
        actuator.gainprm[0] *= drawn["stiffness"][number]
        actuator.biasprm[1] *= drawn["stiffness"][number]
    joints = [hand.full_name(side, joint) for side in ("right", "left") for joint in hand.joints]
    for actuator in spec.actuators:
        actuator.biasprm[2] *= drawn["damping"][joints.index(actuator.target)]
    for number, name in enumerate(joints):
        joint = spec.joint(name)
        joint.damping = np.array(joint.damping) * drawn["damping"][number]
        joint.range = np.array(joint.range) + drawn["joint_limits"][number]
    spec.option.gravity = np.array(spec.option.gravity) + drawn["gravity"]
    return scene.compile()


FIELDS = [
    "body_mass",
    "body_inertia",
    "body_pos",
    "body_ipos",
    "body_subtreemass",
    "body_invweight0",
    "dof_damping",
    "dof_invweight0",
    "jnt_range",
    "jnt_pos",
    "geom_size",
    "geom_pos",
    "geom_friction",
    "geom_rbound",
    "geom_aabb",
    "bvh_aabb",
    "site_pos",
    "actuator_gainprm",
    "actuator_biasprm",
    "actuator_acc0",
    "tendon_invweight0",
]


@pytest.mark.parametrize(
    "name",
    [
        "ShadowHandOver",
        "ShadowHandPen",
        "ShadowHandBottleCap",
        "ShadowHandLiftUnderarm",
        "ShadowHandSwitch",
        "AllegroHandOver",
        "LeapHandOver",
    ],
)
def test_a_model_is_the_one_compiled_from_a_changed_scene(name):
    """Inertias, bounds, drag and the constants that the solver uses follow what was drawn."""
    env = varied(name, 2, preset="bidex")
    env.reset(4)
    literal = edited(env, 1)
    model = env.physics.batch.get_model(1)
    for field in FIELDS:
        np.testing.assert_allclose(getattr(model, field), getattr(literal, field), rtol=2e-6, atol=1e-9, err_msg=field)
    np.testing.assert_allclose(model.opt.gravity, literal.opt.gravity, rtol=1e-6)


def read(env, field):
    """A model field of all environments, float32."""
    return env.physics.param(field).float().clone()


@needs_warp
@pytest.mark.parametrize("name", ["ShadowHandOver", "ShadowHandPen", "ShadowHandDoorOpenOutward"])
def test_both_engines_have_the_same_models_and_move_alike(name):
    one, two = on_both_engines(lambda sim: varied(name, 2, sim, preset="bidex"))
    for field in ("body_mass", "body_inertia", "geom_size", "geom_friction", "dof_damping", "jnt_range"):
        torch.testing.assert_close(read(one, field), read(two, field), rtol=1e-5, atol=1e-7)
    for field in ("body_invweight0", "dof_invweight0", "geom_rbound"):
        torch.testing.assert_close(read(one, field).flatten(1), read(two, field).flatten(1), rtol=2e-3, atol=1e-5)
    torch.testing.assert_close(read(one, "opt.gravity"), read(two, "opt.gravity"))
    for action in random_actions(one, 3, 5):
        check_step(one, two, action)


@each_engine
def test_other_environments_keep_their_models_and_their_places(sim):
    env = varied("ShadowHandPen", 3, sim, **MIXED)
    env.reset(2)
    for action in random_actions(env, 3, 4):
        env.step(action)
    fields = ("body_mass", "geom_size", "dof_damping", "opt.gravity", "body_invweight0")
    before = {field: read(env, field) for field in fields}
    state = {name: getattr(env.physics, name).clone() for name in ("qpos", "qvel", "sensors")}
    mask = torch.tensor([False, True, False])
    env._start_episodes(mask)
    for field in fields:
        assert torch.equal(read(env, field)[~mask], before[field][~mask])
        assert not torch.equal(read(env, field)[mask], before[field][mask])
    for name, value in state.items():
        assert torch.equal(getattr(env.physics, name)[~mask], value[~mask])


@pytest.mark.parametrize("name", HANDS)
def test_every_task_can_be_randomized(name):
    """What stands on a table begins as high above it as ever, and a few random steps are finite."""
    plain = make_task(name, 4)
    env = varied(name, 4, **MIXED)
    plain.reset(1)
    env.reset(1)
    contacts = [deepest_contact(each) for each in (plain, env)]
    assert abs(contacts[0] - contacts[1]) < 0.002
    for action in random_actions(env, 5, 0):
        step = env.step(action)
    assert torch.isfinite(step.state).all() and not step.metrics["diverged"].any()


def deepest_contact(env):
    """Meters of the deepest contact of an object at the start, over all environments."""
    deepest = 0.0
    for row in range(env.spec.num_envs):
        model = env.physics.batch.get_model(row)
        data = mujoco.MjData(model)
        data.qpos[:] = env.physics.qpos[row]
        mujoco.mj_forward(model, data)
        for contact in data.contact:
            bodies = {model.body(int(model.geom_bodyid[geom])).name for geom in (contact.geom1, contact.geom2)}
            if "world" in bodies and not any("/" in body for body in bodies):
                deepest = max(deepest, -contact.dist)
    return deepest


# Signals.


def test_noise_is_on_what_policies_see_and_not_on_the_critics_state():
    noisy = varied("ShadowHandOver", 500, observation_noise=0.05, observation_offset=0.2)
    plain = make_task("ShadowHandOver", 500)
    for env in (noisy, plain):
        env.reset(3)
    action = next(random_actions(plain, 1, 2))
    plain.physics.set_state(everyone(plain), noisy.physics.qpos, noisy.physics.qvel)
    plain.physics.ctrl.copy_(noisy.physics.ctrl)
    for env in (noisy, plain):
        env.physics.forward(everyone(env))
        env.goals["goal"].pos.copy_(noisy.goals["goal"].pos)
        env.goals["goal"].quat.copy_(noisy.goals["goal"].quat)
    exact = plain.step(action)
    seen = noisy.step(action)
    assert torch.equal(exact.state, seen.state)
    for side in range(2):
        error = seen.obs[side] - exact.obs[side]
        assert float(error.std()) == pytest.approx(math.hypot(0.05, 0.2), rel=0.02)
    first = noisy.observe()[0][0]
    second = noisy.observe()[0][0]
    assert float((first - second).std()) == pytest.approx(0.05 * math.sqrt(2.0), rel=0.02)  # the offset stays


def test_actions_are_noisy_and_late_as_a_slow_queue_has_it():
    env = varied("ShadowHandCatchUnderarm", 5, latency=[0, 3], action_offset=0.01)
    env.reset(3)
    start = env.physics.ctrl.clone()
    sent = [torch.cat(action, 1) for action in random_actions(env, 6, 4)]
    late = env._variation.signals.values["latency"][:, 0].long()
    offset = env._variation.signals.values["action_offset"]
    assert len(set(late.tolist())) > 1
    slots = env._ctrl_slots
    for step, action in enumerate(sent):
        env.act(action)
        for row in range(5):
            queued = step - int(late[row])
            shift = offset[row][slots]
            if queued >= 0:
                wanted = (sent[queued][row][slots] + shift).clamp(-1, 1)
            else:
                wanted = ((start[row] - env._target_mid) / env._target_half + shift).clamp(-1, 1)
            expected = env._target_mid + env._target_half * wanted
            torch.testing.assert_close(env.physics.ctrl[row], expected, atol=1e-5, rtol=1e-5)
            force = sent[queued][row][:3] if queued >= 0 else torch.zeros(3)
            pushed = env.physics.xfrc_applied[row, env._flight._bodies[0], :3]
            torch.testing.assert_close(
                pushed, env.base.force * (force + offset[row][:3]).clamp(-1, 1), atol=1e-3, rtol=1e-4
            )
        assert torch.equal(env.action, action)  # what was asked for is what is observed


# Training.


def test_a_run_with_everything_randomized_resumes_bitwise(settings, tmp_path):
    words = [
        "task.randomization.preset=bidex",
        "task.randomization.latency=[0,2]",
        "task.randomization.every=4",
        "task.episode_length=3",
        "task.curriculum.by=success",
        "task.curriculum.episodes=10",
        "task.curriculum.success=0",
        "++task.curriculum.start.randomization=0.5",
        "++task.curriculum.start.joint_noise=0",
        "checkpoint.keep_every=2",
    ]
    cfg = settings("ShadowHandOver", *words)
    cfg = dataclasses.replace(cfg, total_steps=4 * cfg.num_envs * cfg.algo.rollout_length)
    whole, second = whole_and_resumed(cfg, tmp_path)
    one = flat(whole.state_dict())
    two = flat(second.state_dict())
    assert one.keys() == two.keys()
    assert [name for name in one if "time" not in name and not same(one[name], two[name])] == []
    assert 0.0 < float(whole.env.curriculum.level) == float(second.env.curriculum.level)


def test_an_iteration_with_randomization_reads_nothing_on_the_host(settings):
    cfg = settings("ShadowHandOver", "task.randomization.preset=bidex", "task.randomization.latency=[0,2]")
    env = make_task("ShadowHandOver", 4, randomization=cfg.task.randomization, curriculum=by_success())
    env.reset(0)
    action = next(random_actions(env, 1, 0))
    with NoHostReads():
        env.step(action)


def test_a_command_trains_and_judges_with_randomization(tmp_path):
    words = ["task=ShadowHandOver", "task.randomization.preset=bidex", "task.curriculum.by=steps"]
    result = run(*words, "task.curriculum.start.randomization=0", *TINY, cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    judged = run("run=last", "episodes=2", "num_envs=2", cwd=tmp_path, script="scripts/evaluate.py")
    assert judged.returncode == 0 and "success" in judged.stdout, judged.stderr
    wrong = run("task=ShadowHandOver", "task.randomization.friction=[2,1]", *TINY, cwd=tmp_path)
    assert wrong.returncode == 2 and len(wrong.stderr.strip().splitlines()) == 1


# Curricula.


def by_success(**values):
    return CurriculumCfg(**{"by": "success", "episodes": 4, "start": {"position_noise": 0.0}, **values})


def test_a_curriculum_by_steps_moves_a_setting_steadily():
    curriculum = CurriculumCfg(by="steps", steps=8, start={"position_noise": 0.0})
    env = make_task("ShadowHandOver", 3, curriculum=curriculum, position_noise=0.2, joint_noise=0.0)
    env.reset(0)
    moved = [float(env.curriculum.value("position_noise"))]
    for action in random_actions(env, 10, 0):
        step = env.step(action)
        moved.append(float(env.curriculum.value("position_noise")))
    assert moved == pytest.approx([0.2 * min(step / 8, 1.0) for step in range(11)], abs=1e-6)
    assert step.metrics["level"].tolist() == [1.0] * 3


def test_goals_of_thrown_objects_move_away():
    curriculum = CurriculumCfg(by="steps", steps=4, start={"throw": 0.5})
    env = make_task("ShadowHandTwoCatchUnderarm", 2, curriculum=curriculum, episode_length=2, throw=0.75)
    env.reset(0)
    shares = []
    for action in random_actions(env, 7, 0):
        shares.append([float((env.goals[goal].pos[0, 1] - start) / (end - start)) for goal, start, end in WAYS])
        env.step(action)
    expected = [0.5, 0.5, 0.625, 0.625, 0.75, 0.75, 0.75]  # of episodes of two steps
    assert shares == [pytest.approx([share] * 2, abs=1e-5) for share in expected]
    plain = make_task("ShadowHandTwoCatchUnderarm", 1)
    plain.reset(0)
    assert torch.equal(plain.goals["goal"].pos, torch.tensor([[0.0, -0.79, 0.54]]))


WAYS = (("goal", -0.39, -0.79), ("second goal", -0.78, -0.38))  # y of the starts and ends


def test_a_curriculum_by_success_waits_for_enough_of_it():
    """Compared with a slow count of episodes and successes."""
    from harl_isaac.tasks.hands.curriculum import Curriculum

    random = torch.Generator().manual_seed(0)
    curriculum = Curriculum(by_success(episodes=7, success=0.45), {"position_noise": 1.0}, torch.device("cpu"))
    level = 0.0
    ended = 0
    succeeded = 0
    levels = set()
    for _ in range(300):
        done = torch.rand(5, generator=random) < 0.4
        success = torch.rand(5, generator=random) < 0.45
        curriculum.advance(done, success)
        ended += int(done.sum())
        succeeded += int((done & success).sum())
        if ended >= 7:
            level = min(level + 0.1, 1.0) if succeeded >= 0.45 * ended else level
            ended = 0
            succeeded = 0
        assert float(curriculum.level) == pytest.approx(level, abs=1e-5)
        levels.add(round(level, 1))
    assert len(levels) == 11


def test_evaluation_is_of_the_end_of_a_curriculum():
    cfg = dataclasses.replace(default_settings(TASKS, "ShadowHandOver"), curriculum=by_success())
    env = cfg.for_evaluation().make(1, torch.device("cpu"), "mujoco")
    assert env.curriculum.value("position_noise") == cfg.position_noise and "level" not in env.spec.metrics


# Words.


@pytest.mark.parametrize(
    "words, message",
    [
        ("randomization.preset=foo", "task.randomization.preset=foo; possible: none, bidex"),
        ("randomization.friction=[1.3,0.7]", "task.randomization.friction=[1.3, 0.7] must be a range"),
        ("randomization.friction=[1.0]", "task.randomization.friction=[1.0] must be a range"),
        ("randomization.friction=0.5", "task.randomization.friction"),
        ("randomization.damping=[0,1]", "above 0"),
        ("randomization.gravity=-1", "task.randomization.gravity=-1.0 must be within 0 and 100"),
        ("randomization.latency=[0,100]", "task.randomization.latency=[0, 100] must be a range"),
        ("randomization.strength=2", "task.randomization.strength=2 must be within 0 and 1"),
        ("randomization.mass=2", "mass"),
        ("curriculum.by=foo", "task.curriculum.by=foo; possible: none, steps, success"),
        ("curriculum.by=steps", "such as task.curriculum.start.joint_noise=0"),
        ("curriculum.start.joint_noise=0", "by=steps or by=success"),
        ("curriculum.start.kp=0 curriculum.by=steps", "kp does not move; possible: joint_noise"),
        ("curriculum.by=steps curriculum.steps=0", "task.curriculum.steps=0 must be a number of at least 1"),
    ],
)
def test_impossible_settings_are_said_in_one_line(settings, words, message):
    with pytest.raises((ValueError, HydraException)) as caught:
        cfg = settings("ShadowHandOver", *with_free_keys([f"task.{word}" for word in words.split()]))
        cfg.task.make(1, torch.device("cpu"), "mujoco")
    assert message in str(caught.value)


def test_a_size_that_nothing_has_is_refused_by_name_and_left_out_of_a_preset():
    with pytest.raises(ValueError, match="object_size: this task has no loose object"):
        varied("ShadowHandDoorOpenOutward", 1, object_size=[0.9, 1.1])
    env = varied("ShadowHandDoorOpenOutward", 1, preset="bidex")
    assert "geom_size" not in env._variation.model._own
