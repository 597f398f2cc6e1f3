"""One environment step beside bare engine stepping of the same model from the same states with the same controls."""

from typing import List, Tuple

import torch
from torch import Tensor

from benchmarks.clock import FREE, Clock, Cost, Figures, Turns, speed
from benchmarks.engine import engine_controls, engine_cost, new_engine
from benchmarks.subject import Subject
from harl_isaac.check_env import random_actions
from harl_isaac.env import MultiAgentEnv, Step
from harl_isaac.sim.physics import Physics
from harl_isaac.sim.task import PhysicsTask

STEPS = 75  # environment steps in one repeat
BLOCK = 5  # of them in a row, before the other side is timed

Actions = List[Tuple[Tensor, ...]]  # one set A x [E, W_i] a step


def step_ratio(subject: Subject, num_envs: int) -> Figures:
    """Steps/s of the task and of the engine alone, block by block in turn."""
    clock = Clock(subject.device)
    env = subject.make(num_envs)
    first = env.reset(0)
    engine = new_engine(subject, num_envs)
    if not isinstance(env, PhysicsTask) or engine is None:
        return tensor_steps(clock, env, first, subject.repeats)
    generator = torch.Generator().manual_seed(0)
    ours = []
    bare = []
    for _ in range(subject.repeats + 1):  # the first warms up
        task = FREE
        alone = FREE
        for k in range(STEPS // BLOCK):
            actions = [random_actions(env.spec, first, generator) for _ in range(BLOCK)]
            costs = block_costs(clock, env, engine, actions, env_first=bool(k % 2))
            task = task.plus(costs[0])
            alone = alone.plus(costs[1])
        ours.append(task)
        bare.append(alone)
    rows = num_envs * STEPS
    return {
        **speed("task_steps", rows, ours[1:]),
        **speed("engine_steps", rows, bare[1:]),
        **Turns(ours, bare).after_warmup().ratio(),
    }


def block_costs(
    clock: Clock, env: PhysicsTask, engine: Physics, actions: Actions, env_first: bool
) -> Tuple[Cost, Cost]:
    """Seconds of the task's steps, and of the engine alone from the same states with the same controls."""
    controls = list(engine_controls(env, actions))
    engine.load_state_dict(env.physics.state_dict())
    if env_first:
        task = clock.cost(play, env, actions)
        return task, engine_cost(clock, engine, controls)
    alone = engine_cost(clock, engine, controls)
    return clock.cost(play, env, actions), alone


def play(env: MultiAgentEnv, actions: Actions) -> None:
    """Step through the actions."""
    for action in actions:
        env.step(action)


def tensor_steps(clock: Clock, env: MultiAgentEnv, first: Step, repeats: int) -> Figures:
    """Steps/s of a task without an engine; actions are drawn beforehand."""
    generator = torch.Generator().manual_seed(0)
    block = [random_actions(env.spec, first, generator) for _ in range(BLOCK)]
    actions = block * (STEPS // BLOCK)
    costs = [clock.cost(play, env, actions) for _ in range(repeats + 1)]
    return speed("task_steps", env.spec.num_envs * STEPS, costs[1:])
