"""The whole collection loop, with policy, storage and statistics, beside bare engine stepping."""

from typing import Callable, List, Optional

from benchmarks.clock import FREE, Clock, Cost, Figures, Stopwatch, Turns, speed
from benchmarks.engine import engine_controls, engine_cost, new_engine
from benchmarks.step import BLOCK, STEPS
from benchmarks.subject import Subject
from harl_isaac.acting import to_env
from harl_isaac.env import Step
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.sim.physics import Physics
from harl_isaac.sim.task import PhysicsTask
from harl_isaac.training.episode_stats import EpisodeStats


class EngineTurns:
    """Lets the engine take each BLOCK of collected steps too, from the same states with the same controls.

    `count_step` is called after every step of a collection, whose watch rests meanwhile.
    """

    def __init__(self, clock: Clock, env: PhysicsTask, engine: Physics, learner: OnPolicyLearner):
        self.clock = clock
        self.env = env
        self.engine = engine
        self.learner = learner
        self.total = FREE
        self.taken = 0  # steps of the collection so far
        self.engine.load_state_dict(env.physics.state_dict())

    def count_step(self) -> None:
        """Step the engine if a block is complete."""
        self.taken += 1
        if self.taken % BLOCK:
            return
        saved = self.env.state_dict()
        chosen = self.learner.rollout.action[self.taken - BLOCK : self.taken]
        controls = list(engine_controls(self.env, [to_env(self.env.spec, action) for action in chosen]))
        self.env.load_state_dict(saved)
        self.total = self.total.plus(engine_cost(self.clock, self.engine, controls))
        self.engine.load_state_dict(self.env.physics.state_dict())


def collect_ratio(subject: Subject, num_envs: int) -> Figures:
    """Steps/s of collecting, and of the engine alone, block by block in turn."""
    clock = Clock(subject.device)
    env = subject.make(num_envs)
    engine = new_engine(subject, num_envs)
    learner = subject.on_policy_learner(env.spec, rollout_length=STEPS, critic_minibatches=1)
    stats = EpisodeStats(env.spec)
    ours: List[Cost] = []
    bare: List[Cost] = []
    step = env.reset(0)
    for _ in range(subject.repeats + 1):  # the first warms up
        turns = None
        if isinstance(env, PhysicsTask) and engine is not None:
            turns = EngineTurns(clock, env, engine, learner)
        watch = Stopwatch(clock)
        step, _ = learner.collect(env, step, watched(stats, watch, turns))
        watch.stop()
        ours.append(watch.total)
        bare.append(FREE if turns is None else turns.total)
    rows = num_envs * STEPS
    figures = speed("collect_steps", rows, ours[1:])
    if engine is not None:
        figures.update(speed("engine_steps", rows, bare[1:]))
        figures.update(Turns(ours, bare).after_warmup().ratio())
    return figures


def watched(stats: EpisodeStats, watch: Stopwatch, turns: Optional[EngineTurns]) -> Callable[[Step], None]:
    """An observer that keeps statistics and gives the engine its turns."""

    def observe(step: Step) -> None:
        stats(step)
        if turns is not None:
            watch.stop()
            turns.count_step()
            watch.start()

    return observe
