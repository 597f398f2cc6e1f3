"""The whole collection loop, with policy, storage and statistics, beside bare engine stepping."""

from typing import List

from benchmarks.clock import Clock, Figures, rates, ratios
from benchmarks.engine import engine_controls, engine_seconds, new_engine
from benchmarks.step import STEPS
from benchmarks.subject import Subject
from harl_isaac.acting import to_env
from harl_isaac.sim.task import PhysicsTask
from harl_isaac.training.episode_stats import EpisodeStats


def collect_ratio(subject: Subject, num_envs: int) -> Figures:
    """Steps/s of collecting, and of the engine alone from the same states with the controls that were chosen."""
    clock = Clock(subject.device)
    env = subject.make(num_envs)
    engine = new_engine(subject, num_envs)
    learner = subject.on_policy_learner(env.spec, rollout_length=STEPS, critic_minibatches=1)
    stats = EpisodeStats(env.spec)
    ours: List[float] = []
    bare: List[float] = []
    step = env.reset(0)
    for _ in range(subject.repeats + 1):  # the first warms up
        if isinstance(env, PhysicsTask) and engine is not None:
            engine.load_state_dict(env.physics.state_dict())
        begin = clock.now()
        step, _ = learner.collect(env, step, stats)
        ours.append(clock.now() - begin)
        if isinstance(env, PhysicsTask) and engine is not None:
            saved = env.state_dict()
            chosen = [to_env(env.spec, action) for action in learner.rollout.action]
            controls = list(engine_controls(env, chosen))
            env.load_state_dict(saved)
            bare.append(engine_seconds(clock, engine, controls))
    rows = num_envs * STEPS
    figures: Figures = {"collect_steps_per_second": rates(rows, ours[1:])}
    if bare:
        figures["engine_steps_per_second"] = rates(rows, bare[1:])
        figures["ratio"] = ratios(ours[1:], bare[1:])
    return figures
