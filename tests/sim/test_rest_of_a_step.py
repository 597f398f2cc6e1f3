"""MuJoCo Warp: a step right after a forward goes on from it, to the bit as a whole step does."""

import pytest
import torch
from support.marks import needs_warp
from support.mujoco_or_skip import mujoco

from harl_isaac.sim import engines
from harl_isaac.tasks.hands.over import ShadowHandOver, ShadowHandOverCfg
from harl_isaac.tasks.mamujoco.half_cheetah import HalfCheetahCfg

CPU = torch.device("cpu")
ROWS = 4
ALL = torch.ones(ROWS, dtype=torch.bool)
NONE = ~ALL


def over():
    return ShadowHandOver(ShadowHandOverCfg(object="ball", episode_length=5), ROWS, CPU, sim="mujoco_warp")


def calls(physics):
    """Names of the works that the engine runs from now on."""
    names = []
    run = physics._run
    physics._run = lambda name, work: names.append(name) or run(name, work)
    return names


def whole(physics):
    """The engine, with whole steps only."""
    physics._goes_on = False
    return physics


def same(one, two):
    state = two.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def actions(seed):
    generator = torch.Generator().manual_seed(seed)
    both = torch.rand(ROWS, 40, generator=generator) * 2 - 1
    return both[:, :20], both[:, 20:]


@needs_warp
def test_episodes_are_the_same_to_the_bit():
    """Starts, contacts, ends of an episode in some steps and no end in others."""
    fast = over()
    slow = over()
    whole(slow.physics)
    names = calls(fast.physics)
    fast.reset(seed=3)
    slow.reset(seed=3)
    for t in range(14):
        one = fast.step(actions(t))
        two = slow.step(actions(t))
        for name in ("state", "next_state", "reward", "terminated"):
            assert torch.equal(getattr(one, name), getattr(two, name)), name
        same(fast.physics, slow.physics)
    assert names.count("rest") >= 3 and names.count("step") >= 9


@needs_warp
@pytest.mark.parametrize("integrator, goes_on", [("EULER", True), ("IMPLICITFAST", True), ("RK4", False)])
def test_every_integrator_keeps_its_numbers(integrator, goes_on):
    spec = mujoco.MjSpec()
    spec.option.integrator = getattr(mujoco.mjtIntegrator, f"mjINT_{integrator}")
    spec.worldbody.add_geom(type=mujoco.mjtGeom.mjGEOM_PLANE, size=[1, 1, 0.1])
    body = spec.worldbody.add_body(name="box", pos=[0, 0, 0.12])
    body.add_freejoint()
    body.add_geom(type=mujoco.mjtGeom.mjGEOM_BOX, size=[0.1, 0.1, 0.1], mass=1.0)
    body.add_site(name="middle")
    spec.add_sensor(
        type=mujoco.mjtSensor.mjSENS_ACCELEROMETER, objtype=mujoco.mjtObj.mjOBJ_SITE, objname="middle", name="a"
    )
    model = spec.compile()
    one, two = [engines.make_physics("mujoco_warp", model, ROWS, 2, CPU) for _ in range(2)]
    whole(two)
    names = calls(one)
    for t in range(40):
        for physics in (one, two):
            physics.forward(ALL if t % 3 == 0 else NONE)
            physics.step()
        same(one, two)
    assert ("rest" in names) == goes_on


CHANGES = {
    "nothing": lambda physics: None,
    "a control": lambda physics: physics.ctrl.mul_(0.5),
    "a force": lambda physics: physics.xfrc_applied[:, -2, 2].fill_(0.3),
    "positions": lambda physics: physics.qpos[:, 50].add_(0.01),
    "velocities": lambda physics: physics.qvel[1:].add_(0.1),
    "a state": lambda physics: physics.set_state(ALL, physics.qpos + 0.001, physics.qvel * 0.5),
    "a goal": lambda physics: physics.mocap_pos.add_(0.1),
    "a model field": lambda physics: physics.param("geom_friction").mul_(0.1),
    "constants": lambda physics: physics.commit_params(),
    "a saved state": lambda physics: physics.load_state_dict(physics.state_dict()),
}


@needs_warp
@pytest.mark.parametrize("change", CHANGES)
def test_what_is_written_after_a_forward_counts(change):
    """A step reads controls and forces late; after any other write nothing of the forward is used."""
    one = over()
    two = over()
    whole(two.physics)
    names = calls(one.physics)
    for task in (one, two):
        task.physics.param("geom_friction")
        task.reset(seed=1)
        for t in range(3):
            task.step(actions(t))
        task.physics.forward(NONE)
        CHANGES[change](task.physics)
        task.physics.step()
    assert names[-1] == ("rest" if change in ("nothing", "a control", "a force") else "step")
    same(one.physics, two.physics)


@needs_warp
def test_a_second_step_is_a_whole_one():
    physics = over().physics
    names = calls(physics)
    physics.forward(NONE)
    physics.step()
    physics.step()
    assert names == ["forward", "rest", "step"]


@needs_warp
def test_fields_that_are_put_back_keep_a_step_whole():
    """Rows outside of the mask get their old `derived` values back, which are numbers that the engine goes on with."""
    model = over().physics.model
    physics = engines.make_physics("mujoco_warp", model, ROWS, 2, CPU, ("xpos",))
    names = calls(physics)
    physics.forward(NONE)
    physics.step()
    single = engines.make_physics("mujoco_warp", model, ROWS, 1, CPU)  # its sensors are those of the first substep
    more = calls(single)
    single.forward(NONE)
    single.step()
    assert names == more == ["forward", "step"]


@needs_warp
def test_a_forward_that_nobody_can_see_costs_nothing():
    """A model with neither sensors nor fields starts its episodes from positions and velocities alone."""
    task = HalfCheetahCfg(episode_length=3).make(ROWS, CPU, "mujoco_warp")
    other = HalfCheetahCfg(episode_length=3).make(ROWS, CPU, "mujoco")
    names = calls(task.physics)
    steps = [each.reset(seed=2) for each in (task, other)]
    for t in range(8):
        torch.testing.assert_close(steps[0].state, steps[1].state, atol=2e-3, rtol=1e-3)
        generator = torch.Generator().manual_seed(t)
        action = torch.rand(ROWS, 6, generator=generator) * 2 - 1
        steps = [each.step(action.split([box.size for box in each.spec.actions], 1)) for each in (task, other)]
    assert set(names) == {"step"}
