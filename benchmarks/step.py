"""One environment step beside bare engine stepping of the same model from the same states with the same controls."""

from typing import List, Tuple

import torch
from torch import Tensor

from benchmarks.clock import Clock, Figures, rates, ratios
from benchmarks.engine import engine_controls, engine_seconds, new_engine
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
        pairs = []
        for k in range(STEPS // BLOCK):
            actions = [random_actions(env.spec, first, generator) for _ in range(BLOCK)]
            pairs.append(block_seconds(clock, env, engine, actions, env_first=bool(k % 2)))
        ours.append(sum(task for task, _ in pairs))
        bare.append(sum(alone for _, alone in pairs))
    rows = num_envs * STEPS
    return {
        "task_steps_per_second": rates(rows, ours[1:]),
        "engine_steps_per_second": rates(rows, bare[1:]),
        "ratio": ratios(ours[1:], bare[1:]),
    }


def block_seconds(
    clock: Clock, env: PhysicsTask, engine: Physics, actions: Actions, env_first: bool
) -> Tuple[float, float]:
    """Seconds of the task's steps, and of the engine alone from the same states with the same controls."""
    controls = list(engine_controls(env, actions))
    engine.load_state_dict(env.physics.state_dict())
    if env_first:
        task = clock.time(play, env, actions)
        return task, engine_seconds(clock, engine, controls)
    alone = engine_seconds(clock, engine, controls)
    return clock.time(play, env, actions), alone


def play(env: MultiAgentEnv, actions: Actions) -> None:
    """Step through the actions."""
    for action in actions:
        env.step(action)


def tensor_steps(clock: Clock, env: MultiAgentEnv, first: Step, repeats: int) -> Figures:
    """Steps/s of a task without an engine; actions are drawn beforehand."""
    generator = torch.Generator().manual_seed(0)
    block = [random_actions(env.spec, first, generator) for _ in range(BLOCK)]
    actions = block * (STEPS // BLOCK)
    seconds = [clock.time(play, env, actions) for _ in range(repeats + 1)]
    return {"task_steps_per_second": rates(env.spec.num_envs * STEPS, seconds[1:])}
