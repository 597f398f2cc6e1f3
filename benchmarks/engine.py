"""Bare engine stepping: the arithmetic that no task step can avoid."""

from typing import TYPE_CHECKING, Iterable, Iterator, Optional, Sequence, cast

import torch
from torch import Tensor

from benchmarks.clock import FREE, Clock, Cost
from benchmarks.subject import Subject
from harl_isaac.sim.physics import Physics
from harl_isaac.sim.task import PhysicsTask

if TYPE_CHECKING:
    from harl_isaac.sim.mujoco_cpu import MujocoPhysics


def new_engine(subject: Subject, num_envs: int) -> Optional[Physics]:
    """An engine with the task's model of its own, or None for a task that is tensors alone."""
    env = subject.make(num_envs)
    return env.physics if isinstance(env, PhysicsTask) else None


def as_mujoco(physics: Physics) -> Optional["MujocoPhysics"]:
    """MuJoCo's engine, whose batch is called below our tensors; None for MuJoCo Warp, whose views cost nothing."""
    return cast("MujocoPhysics", physics) if physics.name == "mujoco" else None


def bare_step(physics: Physics) -> None:
    """Step the engine alone."""
    mujoco = as_mujoco(physics)
    if mujoco is None:
        physics.step()
    else:
        mujoco.batch.step(None, mujoco.substeps)


def set_controls(physics: Physics, controls: Tensor) -> None:
    """Write controls [E, nu] for the coming steps, down into the engine."""
    physics.ctrl.copy_(controls)
    mujoco = as_mujoco(physics)
    if mujoco is not None:
        mujoco.batch.ctrl = controls.cpu().numpy()


def engine_controls(env: PhysicsTask, actions: Iterable[Sequence[Tensor]]) -> Iterator[Tensor]:
    """Controls [E, nu] that the task makes of the agents' actions, one set A x [E, W_i] a step."""
    for action in actions:
        env.act(torch.cat(tuple(action), dim=-1))
        yield env.physics.ctrl.clone()


def engine_cost(clock: Clock, physics: Physics, controls: Iterable[Tensor]) -> Cost:
    """Seconds of the engine alone, from its state on, one step for each set of controls [E, nu]."""
    total = FREE
    for value in controls:
        set_controls(physics, value)
        total = total.plus(clock.cost(bare_step, physics))
    return total
