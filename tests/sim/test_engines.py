"""Both physics engines under one protocol: they agree with each other, and each writes only the rows of its mask.

On a GPU too, where there is one; but bits that repeat are promised on the CPU only, since kernels on a GPU add numbers
in any order.
"""

import pytest
import torch
from support.marks import DEVICES, needs_cuda, needs_warp
from support.mujoco_or_skip import mujoco

from harl_isaac.buffers.staging import step_parts, with_parts
from harl_isaac.sim import engines
from harl_isaac.sim.mujoco_cpu import MujocoPhysics
from harl_isaac.tasks.hands import scene
from harl_isaac.tasks.hands.objects import SHAPES
from harl_isaac.tasks.hands.over import ShadowHandOver, ShadowHandOverCfg

CPU = torch.device("cpu")
each_engine = pytest.mark.parametrize("sim", ["mujoco", pytest.param("mujoco_warp", marks=needs_warp)])
on_each_device = pytest.mark.parametrize(
    "sim",
    [
        "mujoco",
        pytest.param("mujoco_warp", marks=needs_warp),
        pytest.param("mujoco_warp on cuda:0", marks=(needs_warp, needs_cuda)),
    ],
)
VISIBLE = ("qpos", "qvel", "ctrl", "xfrc_applied", "mocap_pos", "mocap_quat", "sensors")
TIP_COLUMNS = [side * 119 + 13 * tip + axis for side in range(2) for tip in range(5) for axis in range(3)]  # framepos
OBJECT = slice(48, 55)


def place(sim):
    """Engine and device of a name such as "mujoco_warp on cuda:0"."""
    name, _, device = sim.partition(" on ")
    return name, torch.device(device or "cpu")


def over(sim, num_envs=4, shape="ball", gain=None, episode_length=75):
    cfg = ShadowHandOverCfg(object=shape, episode_length=episode_length)
    if gain is not None:
        cfg.physics.gains.kp = cfg.physics.gains.force = cfg.physics.gains.damping = gain
    name, device = place(sim)
    return ShadowHandOver(cfg, num_envs, device, sim=name)


def scene_model(shape="ball"):
    return over("mujoco", 1, shape).physics.model


def play(task, steps, seed=0):
    """Random actions; the Step after each."""
    random = torch.Generator().manual_seed(seed)
    for _ in range(steps):
        action = (torch.rand(task.spec.num_envs, 40, generator=random) * 2 - 1).to(task.spec.device)
        yield task.step((action[:, :20], action[:, 20:]))


def finish(steps):
    return list(steps)[-1]


def rows(*which, num_envs=4, device=CPU):
    mask = torch.zeros(num_envs, dtype=torch.bool, device=device)
    mask[list(which)] = True
    return mask


def visible(physics):
    return {name: getattr(physics, name).clone() for name in VISIBLE}


def equal(a, b, where=slice(None)):
    return all(torch.equal(a[name][where], b[name][where]) for name in a)


def nearly_equal(one, two):
    """Whether numbers of one device are the same: to the bit, on a GPU nearly so."""
    return torch.allclose(one, two, atol=1e-3, rtol=0) if one.is_cuda else torch.equal(one, two)


def on_host(step):
    """A Step with its tensors on the host."""
    return with_parts(step, [value.cpu() for value in step_parts(step)])


def draw_on_the_host(task):
    """Let a task draw the same numbers on every device, at the same times: as often as on a GPU."""
    task.random = torch.Generator()

    def draw(function):
        return lambda size: function((task.spec.num_envs, size), generator=task.random).to(task.spec.device)

    uniform = draw(torch.rand)
    task.uniform = lambda low, high, size: low + (high - low) * uniform(size)
    task.normal = draw(torch.randn)
    task.physics.any_without_sync = lambda mask: True


def all_but_worst(difference):
    """Largest difference in all environments [E, ...] but one: a contact that is about to happen may tip either way."""
    return difference.abs().flatten(1).amax(1).sort().values[-2].item()


@needs_warp
@pytest.mark.parametrize(
    "sim, drawing, shape",
    [
        ("mujoco_warp", "as always", "ball"),
        ("mujoco_warp", "on the host", "ball"),
        pytest.param("mujoco_warp", "as always", "cube", marks=pytest.mark.slow),
        pytest.param("mujoco_warp on cuda:0", "on the host", "ball", marks=needs_cuda),
        pytest.param("mujoco_warp on cuda:0", "on the host", "cube", marks=needs_cuda),
    ],
)
def test_engines_agree_over_episodes(sim, drawing, shape):
    """100 substeps in three episodes: same ends, rewards, observations; float32 against float64."""
    tasks = [over(each, 6, shape, gain=1.0, episode_length=20) for each in ("mujoco", sim)]
    if drawing == "on the host":
        for task in tasks:
            draw_on_the_host(task)
    starts = [task.reset(seed=1) for task in tasks]
    torch.testing.assert_close(*[step.state.cpu() for step in starts], atol=2e-3, rtol=0)
    resets = 0
    for one, two in zip(*[play(task, 50, seed=1) for task in tasks]):
        two = on_host(two)
        assert torch.equal(one.terminated, two.terminated) and torch.equal(one.truncated, two.truncated)
        assert all_but_worst(tasks[0].physics.qpos - tasks[1].physics.qpos.cpu()) < 5e-4
        assert all_but_worst(one.reward - two.reward) < 2e-5
        assert all_but_worst(one.next_state - two.next_state) < 1e-2
        torch.testing.assert_close(one.state[one.done], two.state[two.done], atol=2e-3, rtol=0)
        resets += int(one.done.sum())
    assert resets >= 12


@needs_warp
@pytest.mark.parametrize("shape", ["ball", "cube"])
@pytest.mark.parametrize("device", DEVICES)
def test_engines_agree_in_one_step(device, shape):
    """From the same state, with full gains, contacts, a moved goal and a push: one control step, every environment."""
    one, two = [over(sim, 6, shape) for sim in ("mujoco", f"mujoco_warp on {device}")]
    everyone = torch.ones(6, dtype=torch.bool)
    one.reset(seed=2)
    two.reset(seed=2)
    for physics in (one.physics, two.physics):
        push = torch.tensor([0.1, 0.2, -0.3, 0.01, 0.0, 0.02])
        physics.xfrc_applied[:, -2] = push.to(physics.device)  # the object, next to the goal
        physics.mocap_pos += 0.1
    if device != "cpu":
        two.physics.mocap_pos.copy_(one.physics.mocap_pos)  # of goals drawn on another device
        two.physics.mocap_quat.copy_(one.physics.mocap_quat)
    for _ in play(one, 15, seed=2):
        for physics in (two.physics, one.physics):
            state = [value.to(physics.device) for value in (everyone, one.physics.qpos, one.physics.qvel)]
            physics.ctrl.copy_(one.physics.ctrl)
            physics.set_state(*state)
            physics.forward(state[0])
        torch.testing.assert_close(one.physics.sensors, two.physics.sensors.cpu(), atol=2e-3, rtol=1e-3)
        one.physics.step()
        two.physics.step()
        torch.testing.assert_close(one.physics.qpos, two.physics.qpos.cpu(), atol=1e-4, rtol=0)
        torch.testing.assert_close(one.physics.qvel, two.physics.qvel.cpu(), atol=2e-2, rtol=0)


@on_each_device
def test_set_state_and_forward_touch_their_rows_only(sim):
    """Neither the written tensors nor anything behind them: the other rows' next step is the one they had before."""
    task = over(sim)
    physics = task.physics
    mask = rows(1, 3, device=physics.device)
    task.reset(seed=0)
    finish(play(task, 8))
    saved = physics.state_dict()
    before = visible(physics)
    qpos = before["qpos"] + 0.01
    qvel = before["qvel"] * 0.5
    physics.set_state(mask, qpos, qvel)
    physics.forward(mask)
    after = visible(physics)
    assert equal(after, before, ~mask)
    assert torch.equal(after["qpos"][mask], qpos[mask]) and torch.equal(after["qvel"][mask], qvel[mask])
    assert (after["sensors"] != before["sensors"])[mask].any()
    physics.step()
    disturbed = visible(physics)
    physics.load_state_dict(saved)
    physics.step()
    assert all(nearly_equal(value[~mask], disturbed[name][~mask]) for name, value in visible(physics).items())
    assert not torch.equal(physics.qpos[mask], disturbed["qpos"][mask])


def engine_state(physics):
    """The engine's own numbers in its own precision, less the time."""
    state = physics.state_dict()
    if "integration" in state:
        return state["integration"][:, 1:]
    return torch.cat([state[name].flatten(1) for name in VISIBLE + ("qacc_warmstart",) if name != "sensors"], 1)


@each_engine
def test_set_state_clears_the_warm_start(sim):
    """A row's next step does not depend, to the last bit, on what the row did before it was written."""
    task = over(sim)
    physics = task.physics
    everyone = torch.ones(4, dtype=torch.bool)
    task.reset(seed=0)
    finish(play(task, 5))
    qpos = physics.qpos.clone()
    qvel = physics.qvel.clone()
    ctrl = physics.ctrl.clone()
    outcomes = []
    for steps in (3, 9):
        finish(play(task, steps, seed=steps))
        physics.ctrl.copy_(ctrl)
        physics.set_state(everyone, qpos, qvel)
        physics.forward(everyone)
        outcomes.append(engine_state(physics))
        physics.step()
        outcomes.append(engine_state(physics))
    assert torch.equal(outcomes[0], outcomes[2]) and torch.equal(outcomes[1], outcomes[3])


@on_each_device
def test_sensors_lag_after_step_and_are_current_after_forward(sim):
    """After a step sensors show the last substep's start; a task that needs them current pays for a forward."""
    task = over(sim)
    physics = task.physics
    mask = rows(0, 2, device=physics.device)
    task.reset(seed=0)
    finish(play(task, 8))
    data = mujoco.MjData(scene_model())
    current = torch.zeros(4, len(TIP_COLUMNS))
    for row in range(4):
        data.qpos[:] = physics.qpos[row].double().cpu().numpy()
        mujoco.mj_forward(data.model, data)
        current[row] = torch.from_numpy(data.sensordata).float()[TIP_COLUMNS]
    current = current.to(physics.device)
    lagging = physics.sensors.clone()
    assert ((lagging[:, TIP_COLUMNS] - current).abs().amax(1) > 1e-4).all()
    physics.forward(mask)
    torch.testing.assert_close(physics.sensors[mask][:, TIP_COLUMNS], current[mask], atol=1e-6, rtol=0)
    assert torch.equal(physics.sensors[~mask], lagging[~mask])


def edit(physics, model, envs):
    """One change of the model in each environment of `envs`: 1 mass, 2 friction, 3 gains, 4 damping, 5 size."""
    body = model.body("object").id
    geom = model.geom("object").id
    everything = {
        name: physics.param(name)
        for name in (
            "body_mass",
            "body_inertia",
            "geom_friction",
            "geom_size",
            "actuator_gainprm",
            "actuator_biasprm",
            "dof_damping",
        )
    }
    if 1 in envs:
        everything["body_mass"][1, body] *= 3.0
        everything["body_inertia"][1, body] *= 3.0
    if 2 in envs:
        everything["geom_friction"][2, :, 0] *= 0.02
    if 3 in envs:
        everything["actuator_gainprm"][3, :, 0] *= 0.5
        everything["actuator_biasprm"][3, :, 1] *= 0.5
    if 4 in envs:
        everything["dof_damping"][4, :48] *= 4.0
    if 5 in envs:
        everything["geom_size"][5, geom] *= 1.2
    physics.commit_params()


def drop(sim, envs):
    """The same drop of the same ball in six environments whose models differ: qpos [T, E, nq], and the engine."""
    task = over(sim, 6)
    physics = task.physics
    if task.spec.device != CPU:
        draw_on_the_host(task)
    edit(physics, scene_model(), envs)
    task.reset(seed=3)
    first = torch.ones(6, dtype=torch.bool, device=physics.device)
    physics.set_state(first, physics.qpos[:1].expand(6, -1).contiguous(), torch.zeros_like(physics.qvel))
    physics.forward(first)
    random = torch.Generator().manual_seed(3)
    path = []
    for _ in range(20):
        action = (torch.rand(1, 40, generator=random) - 0.5).expand(6, -1).to(physics.device)
        task.step((action[:, :20], action[:, 20:]))
        path.append(physics.qpos.clone())
    return torch.stack(path), physics


@each_engine
def test_a_param_changes_its_environment_only(sim):
    plain, _ = drop(sim, ())
    edited, _ = drop(sim, (1, 2, 3, 4, 5))
    assert torch.equal(plain, plain[:, :1].expand_as(plain))  # committing alone keeps environments alike
    assert torch.equal(edited[:, 0], plain[:, 0])
    assert ((edited - plain)[:, 1:].abs().amax((0, 2)) > 1e-3).all()
    two, _ = drop(sim, (2, 4))
    assert torch.equal(two[:, [0, 1, 3, 5]], plain[:, [0, 1, 3, 5]])
    assert torch.equal(two[:, [2, 4]], edited[:, [2, 4]])


@needs_warp
@pytest.mark.parametrize("device", DEVICES)
def test_engines_agree_on_params(device):
    """Randomised models move alike, and so do the constants derived from what was written."""
    (one, c), (two, warp) = [drop(sim, (1, 2, 3, 4, 5)) for sim in ("mujoco", f"mujoco_warp on {device}")]
    torch.testing.assert_close(one, two.cpu(), atol=1e-3, rtol=0)
    for name in (
        "body_subtreemass",
        "body_invweight0",
        "dof_invweight0",
        "tendon_invweight0",
        "actuator_acc0",
        "geom_rbound",
    ):
        derived = warp.param(name).cpu()
        torch.testing.assert_close(c.param(name).float().flatten(1), derived.flatten(1), rtol=1e-3, atol=1e-6)
    assert c.param("body_invweight0")[1, -2, 0] < 0.5 * c.param("body_invweight0")[0, -2, 0]


@each_engine
def test_param_refuses_an_unknown_field(sim):
    with pytest.raises(ValueError, match="body_masses"):
        over(sim, 1).physics.param("body_masses")


@each_engine
@pytest.mark.parametrize("params", [False, True], ids=["shared model", "own models"])
def test_a_saved_state_continues_bitwise(sim, params):
    first = over(sim, 6)
    second = over(sim, 6)
    if params:
        edit(first.physics, scene_model(), (1, 2, 3, 4, 5))
    first.reset(seed=5)
    second.reset(seed=6)
    finish(play(first, 7))
    first.physics.xfrc_applied[:, -2, 2] = 0.05
    saved = first.state_dict()
    expected = finish(play(first, 7, seed=7))
    finish(play(second, 3, seed=8))
    second.load_state_dict(saved)
    step = finish(play(second, 7, seed=7))
    assert torch.equal(step.state, expected.state) and torch.equal(step.reward, expected.reward)
    assert equal(visible(first.physics), visible(second.physics))


@on_each_device
def test_a_loaded_state_is_whole_before_the_next_step(sim):
    """Sensors as well: a forward of a few rows leaves the others with those that were loaded."""
    task = over(sim)
    task.reset(seed=0)
    finish(play(task, 6))
    saved = task.physics.state_dict()
    before = visible(task.physics)
    finish(play(task, 6))
    task.physics.load_state_dict(saved)
    assert equal(visible(task.physics), before)
    mask = rows(2, device=task.physics.device)
    task.physics.forward(mask)
    assert equal(visible(task.physics), before, ~mask)


@on_each_device
def test_addresses_stay(sim):
    task = over(sim, episode_length=4)
    physics = task.physics
    before = {name: getattr(physics, name).data_ptr() for name in VISIBLE}
    friction = physics.param("geom_friction")
    task.reset(seed=0)
    finish(play(task, 9))
    task.load_state_dict(task.state_dict())
    physics.commit_params()
    task.reset()
    finish(play(task, 2))
    assert before == {name: getattr(physics, name).data_ptr() for name in VISIBLE}
    assert friction.data_ptr() == physics.param("geom_friction").data_ptr()


@on_each_device
@pytest.mark.parametrize("field", ["qpos", "qvel"])
def test_a_diverged_environment_is_reset_alone(sim, field, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file here
    sick = over(sim)
    well = over(sim)
    sick.reset(seed=4)
    well.reset(seed=4)
    finish(play(sick, 3))
    finish(play(well, 3))
    state = {"qpos": sick.physics.qpos.clone(), "qvel": sick.physics.qvel.clone()}
    state[field][2, 50 if field == "qpos" else 3] = float("nan")
    row = rows(2, device=sick.physics.device)
    sick.physics.set_state(row, **state)
    others = ~row
    for number, (one, two) in enumerate(zip(play(sick, 4, seed=1), play(well, 4, seed=1))):
        assert one.metrics["diverged"].tolist() == [0, 0, float(number == 0), 0]
        assert one.terminated[2] == (number == 0)
        assert all(torch.isfinite(value).all() for value in (one.state, one.next_state, one.reward, *one.next_obs))
        assert nearly_equal(one.state[others], two.state[others]) and nearly_equal(
            one.reward[others], two.reward[others]
        )
    assert sick.diverged_count == 1 and well.diverged_count == 0
    assert torch.isfinite(sick.physics.qpos).all() and torch.isfinite(sick.physics.sensors).all()


@pytest.mark.parametrize("shape", sorted(SHAPES))
def test_scene_has_none_of_the_traps(shape, monkeypatch, tmp_path):
    """Each made the engines differ, or cost time for nothing; see the scene's comments."""
    monkeypatch.chdir(tmp_path)
    model = scene_model(shape)
    pairs = {frozenset(pair) for pair in zip(model.pair_geom1.tolist(), model.pair_geom2.tolist())}
    assert len(pairs) == model.npair == 36
    assert (model.dof_frictionloss == 0).all() and (model.tendon_frictionloss == 0).all()
    assert model.nmesh == 0 and model.ntendon == 8 and model.nu == 40
    opt = model.opt
    assert (opt.integrator, opt.solver, opt.cone) == (
        mujoco.mjtIntegrator.mjINT_IMPLICITFAST,
        mujoco.mjtSolver.mjSOL_NEWTON,
        mujoco.mjtCone.mjCONE_PYRAMIDAL,
    )
    assert (opt.timestep, opt.tolerance) == (1 / 120, 1e-6) and opt.noslip_iterations == 0
    assert (opt.iterations, opt.ls_iterations) == (20, 50)  # docs/results/hands.md
    assert not (tmp_path / "MUJOCO_LOG.TXT").exists()  # two hands in one scene: no option in conflict


def falling_box(force_sensor):
    spec = mujoco.MjSpec()
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1])
    body = spec.worldbody.add_body(name="box", pos=[0, 0, 0.1])
    body.add_freejoint()
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1, 0.1, 0.1], mass=1.0)
    body.add_site(name="middle")
    if force_sensor:
        spec.add_sensor(
            name="force", type=mujoco.mjtSensor.mjSENS_FORCE, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="middle"
        )
    return spec.compile()


@pytest.mark.parametrize("force_sensor", [False, True])
def test_external_forces_need_a_force_sensor(force_sensor):
    """Why tasks read sensors only: the batch leaves cfrc_ext at zero unless a sensor asks for it."""
    physics = MujocoPhysics(falling_box(force_sensor), 2, 1, CPU)
    assert "cfrc_ext" not in physics.derived and not hasattr(physics, "cfrc_ext")
    physics.batch.bind("cfrc_ext")
    for _ in range(50):
        physics.step()
    forces = torch.from_numpy(physics.batch.bind("cfrc_ext").copy())
    weight = forces[:, 1, 5]
    assert torch.allclose(weight, torch.full_like(weight, 9.81 if force_sensor else 0.0), atol=0.1)


def forces(sim, num_envs=3):
    """Boxes at three heights above the ground, with what moves them."""
    name, device = place(sim)
    physics = engines.make_physics(name, falling_box(True), num_envs, 2, device, ("xpos", "cvel", "cfrc_ext"))
    qpos = physics.qpos.clone()
    qpos[:, 2] = torch.tensor([0.1, 0.2, 2.0])
    everyone = torch.ones(num_envs, dtype=torch.bool, device=device)
    physics.set_state(everyone, qpos, physics.qvel.clone())
    physics.forward(everyone)
    return physics


@on_each_device
def test_fields_are_the_engines_derived_values(sim):
    physics = forces(sim)
    before = {name: value.data_ptr() for name, value in physics.derived.items()}
    assert set(before) == {"xpos", "cvel", "cfrc_ext"}
    xpos = physics.derived["xpos"]
    cvel = physics.derived["cvel"]
    cfrc_ext = physics.derived["cfrc_ext"]
    assert xpos.shape == (3, 2, 3) and cvel.shape == cfrc_ext.shape == (3, 2, 6)
    torch.testing.assert_close(xpos[:, 1, 2].cpu(), torch.tensor([0.1, 0.2, 2.0]))
    for _ in range(30):
        height = physics.qpos[:, 2].clone()
        speed = physics.qvel[:, 2].clone()
        physics.step()
    assert (xpos[2, 1, 2] < height[2]) and (xpos[2, 1, 2] > physics.qpos[2, 2])  # a substep old
    assert cvel[2, 1, 5] < speed[2] < 0.0
    assert cfrc_ext[0, 1, 5].item() == pytest.approx(9.81, abs=0.1) and not cfrc_ext[2].any()
    assert before == {name: value.data_ptr() for name, value in physics.derived.items()}


@on_each_device
def test_fields_follow_forward_where_asked_and_saved_states(sim):
    physics = forces(sim)
    for _ in range(5):
        physics.step()
    xpos = physics.derived["xpos"]
    saved = physics.state_dict()
    lagging = xpos.clone()
    physics.forward(rows(2, num_envs=3, device=physics.device))
    assert torch.equal(xpos[:2], lagging[:2])
    torch.testing.assert_close(xpos[2, 1, 2], physics.qpos[2, 2])
    physics.step()
    physics.load_state_dict(saved)
    assert torch.equal(xpos, lagging)
    physics.forward(rows(1, num_envs=3, device=physics.device))
    assert torch.equal(xpos[2], lagging[2])


def test_an_unknown_field_is_refused():
    with pytest.raises(ValueError, match="xposs.*possible.*xpos"):
        engines.make_physics("mujoco", falling_box(False), 1, 1, CPU, ("xposs",))


@on_each_device
def test_what_is_known_without_waiting(sim):
    """Never "none" where a row is set, never "bounded" where one is beyond the limit or not a number."""
    physics = forces(sim)
    device = physics.device
    assert physics.any_without_sync(rows(1, num_envs=3, device=device))
    assert physics.any_without_sync(rows(num_envs=3, device=device)) == (device != CPU)
    set_rows = physics.rows_without_sync(rows(1, num_envs=3, device=device)).tolist()
    assert set_rows == ([1] if device == CPU else [0, 1, 2])
    assert not physics.bounded_without_sync(1.0)
    torch.testing.assert_close(physics.motion, torch.cat((physics.qpos, physics.qvel), 1), rtol=0, atol=0)
    if sim == "mujoco":
        assert physics.bounded_without_sync(1e6)
        for value in (float("nan"), float("inf"), 2e6):
            physics.set_state(rows(0, num_envs=3), torch.full_like(physics.qpos, value), physics.qvel.clone())
            assert not physics.bounded_without_sync(1e6)


@each_engine
def test_engines_leave_the_callers_model_alone(sim):
    model = scene_model("cube")
    flags = model.opt.disableflags
    engines.make_physics(sim, model, 1, 2, CPU)
    assert model.opt.disableflags == flags


@needs_warp
@pytest.mark.parametrize("device", DEVICES)
def test_graphs_do_what_plain_calls_do(device):
    """Warp captures on the CPU too: replaying gives the same bits, also after a model field has moved."""
    plain = over(f"mujoco_warp on {device}")
    captured = over(f"mujoco_warp on {device}")
    plain.physics._graphs.clear()
    plain.physics._use_graphs = False
    captured.physics._use_graphs = True
    for seed in range(2):
        plain.reset(seed)
        captured.reset(seed)
        one, two = [finish(play(task, 4, seed)) for task in (plain, captured)]
        others = visible(captured.physics)
        assert nearly_equal(one.state, two.state)
        assert all(nearly_equal(value, others[name]) for name, value in visible(plain.physics).items())
        assert set(captured.physics._graphs) == {"step", "rest", "forward", "constants"} - (
            {"constants"} if seed == 0 else set()
        )
        for task in (plain, captured):
            task.physics.param("geom_size")[1] *= 1.1
            task.physics.commit_params()
    assert not plain.physics._graphs


@needs_warp
@pytest.mark.parametrize("device", DEVICES)
def test_overflow_is_reported(device, monkeypatch, capfd):
    from harl_isaac.sim import mujoco_warp

    roomy = over(f"mujoco_warp on {device}")
    monkeypatch.setattr(mujoco_warp, "buffer_sizes", lambda *_: (1, 160))
    tight = over(f"mujoco_warp on {device}")
    for task in (roomy, tight):
        task.reset(seed=0)
        finish(play(task, 10))
    assert not roomy.physics.overflow.any() and tight.physics.overflow.any()
    assert "overflow" not in capfd.readouterr().out


@on_each_device
def test_a_solver_that_stops_at_its_limit_is_reported_and_lost_contacts_are_something_else(sim, monkeypatch):
    """Until the next episode begins."""
    for limit, stops in ((2, True), (100, False)):
        monkeypatch.setattr(scene, "ITERATIONS", limit)
        task = over(sim, 3)
        task.reset(seed=0)
        step = finish(play(task, 6))
        assert bool((step.metrics["unconverged"] > 0).any()) == stops and not step.metrics["overflow"].any()
        row = rows(0, num_envs=3, device=task.physics.device)
        task.physics.set_state(row, task.physics.qpos.clone(), task.physics.qvel.clone())
        assert task.physics.unconverged[0] == 0.0 and (not stops or task.physics.unconverged[1:].any())
        saved = task.physics.state_dict()
        before = task.physics.unconverged.clone()
        task.reset(seed=1)
        task.physics.load_state_dict(saved)
        assert torch.equal(task.physics.unconverged, before)


@needs_warp
@pytest.mark.parametrize("shape, least", [("ball", (25, 116)), ("egg", (25, 124)), ("cube", (34, 190))])
def test_buffers_hold_what_random_play_needs(shape, least):
    """`least` contacts and rows were measured in 128 environments x 150 steps of random and bang-bang actions."""
    data = over("mujoco_warp", 1, shape).physics._data
    assert data.naconmax >= 1.4 * least[0] and data.njmax >= 1.15 * least[1]
    assert data.efc.J.shape[-1] >= 13 * data.njmax  # wrist, thumb and object have 2, 5 and 6 degrees of freedom


@needs_warp
@pytest.mark.skipif(torch.cuda.is_available(), reason="CUDA is there")
def test_warp_refuses_a_device_it_does_not_have():
    with pytest.raises(ValueError, match="device=cuda:0.*no CUDA device.*sim=mujoco"):
        engines.make_physics("mujoco_warp", falling_box(False), 1, 1, torch.device("cuda", 0))


def test_an_unknown_engine_is_refused():
    with pytest.raises(ValueError, match="sim=physx is unknown; possible: auto, mujoco, mujoco_warp"):
        engines.choose_engine("physx", CPU)


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(engines, "find_spec", lambda name: None if name == "mujoco_warp" else object())
    with pytest.raises(ValueError, match="sim=mujoco_warp needs mujoco_warp.*pip install mujoco-warp"):
        engines.choose_engine("mujoco_warp", CPU)
    assert engines.choose_engine("auto", torch.device("cuda")) == "mujoco"
    monkeypatch.setattr(engines, "find_spec", lambda name: object())
    assert engines.choose_engine("auto", torch.device("cuda")) == "mujoco_warp"
    assert engines.choose_engine("auto", CPU) == "mujoco"
