"""MAMuJoCo tasks beside the original: the same states and actions give the same observations, states, rewards, ends."""

import numpy as np
import pytest
import torch
from support.marks import needs_warp
from support.mujoco_or_skip import mujoco
from support.reference_mamujoco import Original

from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS

CPU = torch.device("cpu")
OBSKS = (0, 1, 2)
COSTLY = [("Humanoid", "17x1"), ("HumanoidStandup", "17x1"), ("ManySegmentSwimmer", "10x2"), ("Ant", "2x4d")]
FACTORIZATIONS = [
    ("HalfCheetah", "2x3"),
    ("HalfCheetah", "3x2"),
    ("HalfCheetah", "6x1"),
    ("HalfCheetah", "bthigh+fthigh,bshin+bfoot+fshin+ffoot"),
    ("Ant", "2x4"),
    ("Ant", "2x4d"),
    ("Ant", "4x2"),
    ("Ant", "8x1"),
    ("Hopper", "3x1"),
    ("Walker2d", "2x3"),
    ("Walker2d", "3x2"),
    ("Walker2d", "6x1"),
    ("Humanoid", "9|8"),
    ("Humanoid", "17x1"),
    ("HumanoidStandup", "9|8"),
    ("HumanoidStandup", "17x1"),
    ("Swimmer", "2x1"),
    ("Reacher", "2x1"),
    ("Pusher", "3p"),
    ("Pusher", "7x1"),
    ("ManySegmentSwimmer", "10x2"),
    ("ManySegmentSwimmer", "2x1"),
    ("ManySegmentAnt", "2x3"),
    ("ManySegmentAnt", "3x1"),
]
SCENARIOS = sorted(name.split("/")[1] for name in TASKS if name.startswith("mamujoco/"))
FORCEFUL = ("Ant", "Humanoid", "HumanoidStandup", "ManySegmentAnt")  # they observe cfrc_ext


def slow(*values):
    """A case that runs with the slow tests."""
    return pytest.param(*values, marks=pytest.mark.slow)


def make(scenario, dtype=torch.float32, num_envs=1, sim="mujoco", change=None, **settings):
    cfg = import_object(TASKS["mamujoco/" + scenario])(**settings)
    task_class = type(cfg.make(1, CPU, "mujoco"))
    return (change(task_class) if change else task_class)(cfg, num_envs, CPU, sim, dtype)


class Pair:
    """Our tasks, one for each obsk and one that observes everything, and the original, always in the same state."""

    def __init__(self, scenario, agents, dtype, episode, folder):
        def ours(**view):
            return make(scenario, dtype, agents=agents, episode_length=episode, **view)

        self.local = [ours(obs="local", obsk=k) for k in OBSKS]
        self.full = ours()
        self.tasks = self.local + [self.full]
        self.original = Original(scenario, agents, self.full, OBSKS, episode, folder)
        if "cfrc_ext" in self.full.fields:
            self.original.forces_as_sensors_have_them(self.full.model)
        for task in self.tasks:
            task.reset_rows = lambda mask, task=task: self.place(task, mask)
        self.restart(0)

    def restart(self, seed):
        self.start = [torch.from_numpy(value)[None] for value in self.original.reset(seed)]

    def place(self, task, mask):
        task.physics.set_state(mask, *self.start)
        task.physics.ctrl.zero_()

    def expected(self):
        return [self.original.obs(i) for i in range(len(OBSKS))], self.original.state().copy()

    def compare(self, steps, expected, close, successor=False):
        locals_, state = expected
        names = ("next_obs", "next_state") if successor else ("obs", "state")
        for step, obs in zip(steps, locals_ + [None]):
            close(getattr(step, names[1])[0, 0], state)
            for i, mine in enumerate(getattr(step, names[0])):
                one_hot = np.eye(len(step.obs))[i]
                close(mine[0], np.concatenate((state, one_hot)) if obs is None else obs[i])


@pytest.mark.parametrize(
    "dtype", [torch.float64, pytest.param(torch.float32, marks=pytest.mark.slow)], ids=["float64", "float32"]
)
@pytest.mark.parametrize("scenario, agents", [slow(*each) if each in COSTLY else each for each in FACTORIZATIONS])
def test_equal_to_the_original(scenario, agents, dtype, tmp_path):
    """200 random steps with resets within 1e-9 in float64 (60 of the slow original with 17 agents); 60 in float32,
    where rounding leaves 1e-5. cfrc_ext is read where sensors have it; see test_forces_are_a_stage_older.
    """
    exact = dtype == torch.float64
    tolerance = 1e-9 if exact else 1e-5
    length = 200 if exact and agents != "17x1" else 60

    def close(mine, theirs):
        np.testing.assert_allclose(mine.numpy(), theirs, rtol=tolerance, atol=tolerance)

    pair = Pair(scenario, agents, dtype, length // 3, tmp_path)
    random = np.random.default_rng(1)
    ends = 0
    pair.compare([task.reset(0) for task in pair.tasks], pair.expected(), close)
    spaces = pair.full.spec.actions
    for t in range(length):
        actions = [random.uniform(space.low, space.high, space.size).astype(np.float32) for space in spaces]
        reward, terminated, truncated = pair.original.step(actions)
        after = pair.expected()
        if terminated or truncated:
            pair.restart(t)
            ends += 1
        steps = [task.step(tuple(torch.from_numpy(action)[None] for action in actions)) for task in pair.tasks]
        pair.compare(steps, after, close, successor=True)
        pair.compare(steps, pair.expected(), close)
        for step in steps:
            close(step.reward[0, 0], reward)
            assert (step.terminated.item(), step.truncated.item()) == (terminated, truncated and not terminated)
    assert ends >= 2


@pytest.mark.parametrize("scenario, least", [("Ant", 0.2), ("Humanoid", 1.0)])
def test_forces_are_a_stage_older(scenario, least, tmp_path):
    """Beside gymnasium itself all is equal but cfrc_ext: gymnasium's are of the integrator's last stage, ours of its
    first, a substep earlier. Both are 0 most of the time, and differ by `least` or more in contact.
    """
    task = make(scenario, torch.float64)
    original = Original(scenario, task.cfg.agents, task, (0,), 1000, tmp_path)
    random = np.random.default_rng(0)
    worst = 0.0
    start = [torch.from_numpy(value)[None] for value in original.reset(0)]
    task.reset_rows = lambda mask: task.physics.set_state(mask, *start)
    task.reset(0)
    for _ in range(15):
        actions = [random.uniform(space.low, space.high, space.size).astype(np.float32) for space in task.spec.actions]
        original.step(actions)
        mine = task.step(tuple(torch.from_numpy(action)[None] for action in actions)).next_state[0, 0].numpy()
        first = len(mine) - 6 * (task.model.nbody - 1)
        np.testing.assert_allclose(mine[:first], original.state()[:first], rtol=1e-9, atol=1e-9)
        worst = max(worst, np.abs(mine[first:] - original.state()[first:]).max())
    assert worst > least


@pytest.mark.parametrize("scenario", ["Ant", "Hopper", "Humanoid", "Walker2d"])
def test_healthy_states(scenario, tmp_path):
    """As gymnasium judges random states on both sides of every bound."""
    task = make(scenario, torch.float64, num_envs=400)
    random = np.random.default_rng(0)
    base = Original(scenario, task.cfg.agents, task, (0,), 1000, tmp_path).base
    qpos = random.normal(size=(400, task.model.nq)) * 0.3
    qvel = random.normal(size=(400, task.model.nv)) * 60.0
    qpos[:, 1] += random.uniform(0.0, 2.0, 400)
    qpos[:, 2] = random.uniform(-0.3, 2.3, 400) * (random.random(400) < 0.6)
    task.physics.set_state(torch.ones(400, dtype=torch.bool), torch.from_numpy(qpos), torch.from_numpy(qvel))
    expected = []
    for row in range(400):
        base.data.qpos[:] = qpos[row]
        base.data.qvel[:] = qvel[row]
        expected.append(bool(base.is_healthy))
    assert task.healthy().tolist() == expected and task.terminated().tolist() == [not value for value in expected]
    assert 20 < sum(expected) < 380


@pytest.mark.parametrize("scenario", ["Humanoid", "HumanoidStandup"])
def test_impacts_cost_so_much_and_no_more(scenario):
    task = make(scenario, torch.float64, num_envs=2)
    for row, force in enumerate((30.0, 3000.0)):
        task.physics.derived["cfrc_ext"][row] = force
    squares = 6 * task.model.nbody * 30.0**2
    assert task.impact().tolist() == pytest.approx([5e-7 * squares, 10.0])


@pytest.mark.parametrize("scenario", ["Ant", "Humanoid", "Pusher"])
def test_a_diverged_environment_is_reset_alone(scenario, monkeypatch, tmp_path):
    """Its derived values are made finite as well, so that observations, rewards and metrics are."""
    monkeypatch.chdir(tmp_path)  # MuJoCo writes its warnings to a file here
    sick = make(scenario, num_envs=4)
    well = make(scenario, num_envs=4)
    sick.reset(4)
    well.reset(4)
    qpos = sick.physics.qpos.clone()
    row = torch.tensor([False, False, True, False])
    qpos[2, -1] = float("nan")
    sick.physics.set_state(row, qpos, sick.physics.qvel.clone())
    for number in range(3):
        actions = tuple(torch.full((4, space.size), 0.1) for space in sick.spec.actions)
        one = sick.step(actions)
        two = well.step(actions)
        assert one.metrics["diverged"].tolist() == [0, 0, float(number == 0), 0]
        assert one.terminated[2] == (number == 0) and (number > 0 or one.reward[2] == 0.0)
        for value in (one.state, one.next_state, one.reward, *one.obs, *one.next_obs, *one.metrics.values()):
            assert torch.isfinite(value).all()
        assert torch.equal(one.state[~row], two.state[~row]) and torch.equal(one.reward[~row], two.reward[~row])
    assert sick.diverged_count == 1


def tendon(task, qpos, qvel):
    """Length of a model's first tendon, its derivative by central differences [nv], and its rate, at a state [n]."""
    data = mujoco.MjData(task.model)
    nv = task.model.nv

    def length(offset):
        data.qpos[:] = qpos + offset
        mujoco.mj_forward(task.model, data)
        return data.ten_length[0]

    slope = np.array([(length(1e-6 * row) - length(-1e-6 * row)) / 2e-6 for row in np.eye(nv)])
    return length(0.0), slope, slope @ qvel


def test_coupled_cheetahs():
    """A literal version of state, local observation and reward, since the original fails on this MuJoCo."""
    task = make("CoupledHalfCheetah", torch.float64)
    local = make("CoupledHalfCheetah", torch.float64, obs="local", obsk=1)
    step = task.reset(3)
    view = local.reset(3)
    data = mujoco.MjData(task.model)
    random = torch.Generator().manual_seed(0)
    data.qpos[:] = task.physics.qpos[0].numpy()
    data.qvel[:] = task.physics.qvel[0].numpy()
    lagging = data.qpos.copy(), data.qvel.copy()
    for _ in range(30):
        length, slope, rate = tendon(task, *lagging)
        state = np.concatenate((np.delete(data.qpos, (0, 9)), data.qvel, slope[[0, 1, 9, 10]], [length, rate]))
        np.testing.assert_allclose(step.state[0, 0].numpy(), state, atol=1e-7)
        for i, first in enumerate((3, 12)):  # joints bthigh, bshin, bfoot, fthigh, fshin, ffoot; sorted by name:
            own = []
            for joint in (2, 1, 0, 5, 4, 3):
                own += [data.qpos[first + joint], data.qvel[first + joint]] + (
                    [*slope[[0, 1, 9, 10]], length, rate] if joint == 0 else []
                )
            trunk = list(data.qpos[[2, 1, 11, 10]]) + list(data.qvel[[0, 2, 1, 9, 11, 10]])
            np.testing.assert_allclose(view.obs[i][0].numpy(), own + trunk, atol=1e-7)
        before = data.qpos[[0, 9]].copy()
        actions = tuple(torch.rand(1, 6, generator=random) * 2 - 1 for _ in range(2))
        data.ctrl[:] = torch.cat(actions, 1)[0].numpy()
        mujoco.mj_step(task.model, data, nstep=4)
        lagging = data.qpos.copy(), data.qvel.copy()  # the last substep's start, of which derived values are
        mujoco.mj_step(task.model, data)
        step = task.step(actions)
        view = local.step(actions)
        reward = (data.qpos[[0, 9]] - before).sum() / 2 / 0.05 - 0.1 * np.square(data.ctrl).sum() / 2
        assert step.reward.item() == pytest.approx(reward, abs=1e-9)


SLOW = tuple(name for name in SCENARIOS if name not in ("HalfCheetah", "Ant"))  # a minute of compiling, in all
# Float32 rounding of positions and velocities in one control step: m, rad; m/s, rad/s. A chain of links amplifies it.
LIMITS = (1e-5, 2e-3)
CHAIN = {"ManySegmentSwimmer": (5e-4, 2e-2)}
# Where a capsule stands within 30 degrees of upright, MuJoCo Warp turns the friction pyramid otherwise than MuJoCo does
# (after one step in contact an ant differs by 1e-2 rad). With elliptic cones, without direction, the engines agree.
CONES = ("Ant", "ManySegmentAnt")


def with_elliptic_cones(task_class):
    """The same task with friction that is equal in all directions."""

    class Elliptic(task_class):
        def scene(self):
            spec = super().scene()
            spec.option.cone = mujoco.mjtCone.mjCONE_ELLIPTIC
            return spec

    return Elliptic


@needs_warp
@pytest.mark.parametrize(
    "scenario", [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in SCENARIOS]
)
def test_engines_agree(scenario):
    """From the same states, one step at a time, with ends: the same flags and numbers."""
    change = with_elliptic_cones if scenario in CONES else None
    one, two = [
        make(scenario, num_envs=6, sim=sim, change=change, episode_length=7, obs="local")
        for sim in ("mujoco", "mujoco_warp")
    ]
    everyone = torch.ones(6, dtype=torch.bool)
    random = torch.Generator().manual_seed(0)
    limits = CHAIN.get(scenario, LIMITS)
    for first, second in zip(one.reset(1).obs, two.reset(1).obs):
        torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    for _ in range(15):
        two.physics.set_state(everyone, one.physics.qpos, one.physics.qvel)
        two.physics.forward(everyone)
        one.physics.set_state(everyone, one.physics.qpos.clone(), one.physics.qvel.clone())
        one.physics.forward(everyone)
        actions = tuple(
            torch.rand(6, space.size, generator=random) * (space.high - space.low) + space.low
            for space in one.spec.actions
        )
        steps = one.step(actions), two.step(actions)
        assert torch.equal(steps[0].terminated, steps[1].terminated) and torch.equal(
            steps[0].truncated, steps[1].truncated
        )
        off = [(getattr(one.physics, name) - getattr(two.physics, name)).abs().amax(1) for name in ("qpos", "qvel")]
        assert off[0].max() < limits[0] and off[1].max() < limits[1]
    assert not two.physics.overflow.any()


@needs_warp
@pytest.mark.parametrize("agents, least", [("2x3", (38, 164)), ("10x2", (227, 948))])
def test_warp_buffers_hold_an_ant_that_lies(agents, least):
    """`least` contacts and rows were measured in 64 environments x 150 steps of random and bang-bang actions."""
    import mujoco_warp as mjw

    from harl_isaac.sim.warp_model import buffer_sizes

    model = make("ManySegmentAnt", agents=agents).model
    contacts, rows = buffer_sizes(model, mjw.put_model(model))
    assert contacts >= 1.15 * least[0] and rows >= 1.1 * least[1]


@needs_warp
def test_a_solver_that_warp_lacks_is_replaced():
    task = make("HumanoidStandup")
    assert task.model.opt.solver == mujoco.mjtSolver.mjSOL_PGS
    from harl_isaac.sim.warp_model import portable

    assert portable(task.model).opt.solver == mujoco.mjtSolver.mjSOL_NEWTON
    for scenario in ("Ant", "HalfCheetah"):
        model = make(scenario).model
        assert (portable(model).opt.solver, portable(model).opt.integrator) == (model.opt.solver, model.opt.integrator)


@pytest.mark.parametrize(
    "scenario, settings, message",
    [
        (
            "HalfCheetah",
            {"agents": "4x2"},
            "agents=4x2: give one of 1x6, 2x3, 3x2, 6x1, or groups that name each of bthigh,",
        ),
        ("Ant", {"agents": "hip_1+ankle_1,hip_2"}, "agents=hip_1.*2x4d"),
        ("Walker2d", {"agents": "thigh+leg+foot,thigh_left+leg_left+foot_left"}, "thigh_joint"),
        ("Hopper", {"obs": "partial"}, "obs=partial; possible: full, local"),
        ("Hopper", {"obs": "local", "obsk": -1}, "obsk=-1"),
        ("ManySegmentAnt", {"agents": "hip1_0+ankle1_0,hip2_0"}, "all 4 joints of each segment"),
        ("ManySegmentSwimmer", {"agents": "1x1"}, "two segments or more"),
        ("ManySegmentSwimmer", {"agents": "rot0+rot9"}, "rot0, rot1"),
    ],
)
def test_impossible_settings_are_refused(scenario, settings, message):
    with pytest.raises(ValueError, match=message):
        make(scenario, **settings)


def test_float64_is_for_mujoco_only():
    with pytest.raises(ValueError, match="mujoco_warp computes in float32.*sim=mujoco"):
        make("Hopper", torch.float64, sim="mujoco_warp")


@pytest.mark.parametrize(
    "scenario, agents, joints",
    [
        ("ManySegmentSwimmer", "rot0+rot1,rot2", 3),
        ("ManySegmentAnt", "3x1", 12),
        ("ManySegmentAnt", "hip1_0+hip2_0+ankle1_0+ankle2_0,hip1_1+hip2_1+ankle1_1+ankle2_1", 8),
    ],
)
def test_bodies_of_any_length(scenario, agents, joints):
    task = make(scenario, agents=agents)
    assert task.model.nu == joints == sum(space.size for space in task.spec.actions)


def test_reset_noise():
    """As in gymnasium: uniform positions; normal velocities for HalfCheetah, uniform ones for Hopper; no control."""
    cheetah = make("HalfCheetah", num_envs=4000)
    hopper = make("Hopper", num_envs=4000)
    for task in (cheetah, hopper):
        task.physics.ctrl.fill_(0.3)
        task.reset(0)
        noise = task.cfg.reset_noise
        off = task.physics.qpos - torch.as_tensor(task.model.qpos0).float()
        assert off.abs().max() <= noise * 1.001 and off.std().item() == pytest.approx(noise / 3**0.5, rel=0.02)
        assert not task.physics.ctrl.any()
    assert cheetah.physics.qvel.std().item() == pytest.approx(0.1, rel=0.02) and cheetah.physics.qvel.abs().max() > 0.3
    assert hopper.physics.qvel.abs().max() <= 5e-3 and hopper.physics.qvel.std().item() == pytest.approx(
        2.9e-3, rel=0.02
    )


def test_targets_at_reset():
    """Reacher's fill a disc, Pusher's cylinders a rectangle less a disc, evenly."""
    reacher = make("Reacher", num_envs=4000)
    pusher = make("Pusher", num_envs=4000)
    reacher.reset(0)
    pusher.reset(0)
    radius = reacher.physics.qpos[:, 2:].norm(dim=1)
    assert radius.max() < 0.2 and (radius < 0.1).float().mean().item() == pytest.approx(0.25, abs=0.03)
    start = pusher.physics.qpos[:, 7:9]
    assert start.norm(dim=1).min() > 0.17
    assert (start[:, 0] >= -0.3).all() and (start[:, 0] <= 0).all() and start[:, 1].abs().max() <= 0.2
    near = (start[:, 0] > -0.15).float().mean().item()  # half the area, less most of the disc
    samples = np.random.default_rng(0).uniform((-0.3, -0.2), (0.0, 0.2), (100000, 2))
    samples = samples[np.linalg.norm(samples, axis=1) > 0.17]
    assert near == pytest.approx((samples[:, 0] > -0.15).mean(), abs=0.03)
    assert not pusher.physics.qvel[:, 7:].any() and not reacher.physics.qvel[:, 2:].any()


def test_speed_is_the_episodes_mean():
    task = make("HalfCheetah", num_envs=3, episode_length=4)
    random = torch.Generator().manual_seed(0)
    task.reset(0)
    start = task.physics.qpos[:, 0].clone()
    for t in range(1, 10):
        step = task.step(tuple(torch.rand(3, 3, generator=random) * 2 - 1 for _ in range(2)))
        passed = (t - 1) % 4 + 1
        if not step.done.any():
            torch.testing.assert_close(step.metrics["speed"], (task.physics.qpos[:, 0] - start) / (0.05 * passed))
        else:
            start = task.physics.qpos[:, 0].clone()
            assert passed == 4 and step.metrics["speed"].abs().max() > 1e-3


@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_picture_can_be_made(scenario):
    """The visual model has the task's positions, a camera and a length of a step."""
    task = make(scenario)
    model = task.visual_model()
    floor = model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE
    assert (model.geom_size[floor, :2] == 0.0).all() and not (task.model.geom_size[floor, :2] == 0.0).any()
    assert model.nq == task.physics.qpos.shape[1] and model.nmocap == 0 and 0.005 < task.control_seconds < 0.06
