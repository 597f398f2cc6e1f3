"""The training loop: collect, update, log, evaluate, save."""

import math
from pathlib import Path
from typing import Any, Dict, Optional

import torch

from harl_isaac.config import RunCfg
from harl_isaac.devices import check_engine_device, choose_device
from harl_isaac.env import MultiAgentEnv, SimulatorError, Step
from harl_isaac.training import checkpoint
from harl_isaac.training.control import StopSignal, Stopwatch
from harl_isaac.training.episode_stats import EpisodeStats
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.logger import Logger, read
from harl_isaac.training.report import ReplaySettings, check_finite, end_text, replay_text, start_text, warmup_text
from harl_isaac.training.trust import needs_trust

# Added to the run's seed: evaluation episodes are the same at every evaluation, and unlike those of training.
EVAL_SEED = 1_000_003


class Trainer:
    """One run, from its settings and, to go on, a checkpoint. Nothing is written before `train`."""

    folder: Path  # of the run, from `train` on
    logger: Logger

    def __init__(self, cfg: RunCfg, saved: Optional[Dict[str, Any]] = None):
        device = choose_device(cfg.device)
        check_engine_device(cfg.sim, device)
        torch.manual_seed(cfg.seed)
        self.cfg = cfg
        self.env = cfg.task.make(cfg.num_envs, device, cfg.sim)
        self.learner = cfg.algo.learner(self.env.spec, cfg.seed)
        self.eval_env: Optional[MultiAgentEnv] = None  # made for the first evaluation
        self.stats = EpisodeStats(self.env.spec)
        self.watch = Stopwatch(device)
        self.iteration = 0
        self.steps = 0  # environment steps, of all environments together
        self.best = -math.inf  # return of the best evaluation
        self.step = self.env.reset(cfg.seed)  # the latest: the agents act on it next
        if saved is not None:
            self.load_state_dict(saved)

    def train(self, folder: Path) -> Dict[str, float]:
        """Train until total_steps, or until a signal asks to stop; a checkpoint is there at the end either way.

        Returns the last iteration's numbers, empty if there was nothing left to do.
        """
        cfg = self.cfg
        self.folder = folder
        self.logger = Logger(folder, cfg.log.console, cfg.log.interval, cfg.total_steps, self.iteration, self.steps)
        self.logger.say(start_text(cfg, self.env.spec, folder))
        replay = self.learner.replay
        if replay is not None and isinstance(cfg.algo, ReplaySettings):
            self.logger.say(replay_text(cfg.algo, replay.bytes, replay.device != self.env.spec.device))
        warmup = self.learner.steps_before_update
        if warmup and self.steps < cfg.total_steps:
            self.logger.say(warmup_text(warmup, cfg.total_steps - self.steps))
        try:
            numbers = self._loop()
            self.logger.say(self.summary(numbers))
        finally:  # a terminal gets its cursor back also after an error
            self.logger.close()
        return numbers

    def _loop(self) -> Dict[str, float]:
        cfg = self.cfg
        numbers: Dict[str, float] = {}
        with StopSignal() as stop:
            while self.steps < cfg.total_steps and not stop.requested:
                try:
                    numbers = self.iterate()
                    self.logger.iteration(self.iteration, self.steps, numbers)
                    if _due(self.iteration, cfg.eval.interval):
                        self.evaluate()
                except SimulatorError:
                    self.save("latest")  # as after the last whole iteration
                    raise
                if _due(self.iteration, cfg.checkpoint.interval):
                    self.save("latest")
                if _due(self.iteration, cfg.checkpoint.keep_every):
                    self.save(f"iteration_{self.iteration:06d}")
            self.save("latest")
        return numbers

    def iterate(self) -> Dict[str, float]:
        """Collect, update, and copy the metrics to the host once."""
        self.watch.start()
        self.step, length = self.learner.collect(self.env, self.step, self.stats)
        self.watch.lap()
        metrics = self.learner.update(min(self.steps / self.cfg.total_steps, 1.0))
        batch = length * self.env.spec.num_envs
        self.iteration += 1
        self.steps += batch
        numbers = read({"steps": self.steps, **self.stats.drain(), **metrics})
        seconds, collecting = self.watch.stop()
        numbers.update({"time/steps_per_second": batch / seconds, "time/collect_steps_per_second": batch / collecting})
        check_finite(numbers, self.iteration)
        return numbers

    def evaluate(self) -> None:
        """Evaluate, and keep the policy if it is the best so far."""
        cfg = self.cfg
        if self.eval_env is None:
            count = min(cfg.eval.episodes, cfg.num_envs)
            exclusive = self.env.spec.exclusive  # the process can hold no second environment
            self.eval_env = self.env if exclusive else cfg.task.make(count, self.env.spec.device, cfg.sim)
        means = evaluate_policy(self.eval_env, self.learner.actors, cfg.eval.episodes, cfg.seed + EVAL_SEED).means()
        if self.eval_env is self.env:
            self._begin_episodes(self.env.reset(cfg.seed + self.iteration))
        self.logger.evaluation(self.iteration, self.steps, means)
        if means["return"] > self.best:
            self.best = means["return"]
            self.save("best")

    def summary(self, numbers: Dict[str, float]) -> str:
        """The last lines of a run."""
        return end_text(
            numbers, self.iteration, self.steps, self.cfg.total_steps, self.folder, needs_trust(self.cfg.task)
        )

    def save(self, name: str) -> None:
        """Write the checkpoint `name`.pt of the run folder."""
        checkpoint.save(self.folder / checkpoint.FOLDER / (name + ".pt"), self.state_dict(name != "best"))

    def state_dict(self, whole: bool = True) -> Dict[str, Any]:
        """The training state; `load_state_dict` continues exactly from it if it is whole, with its replay."""
        step = self.step
        return {
            "task": self.cfg.task.name,
            "algo": self.cfg.algo.name,
            "sizes": checkpoint.sizes(self.env.spec),
            "learner": self.learner.state_dict(),
            "replay": self._replay_state() if whole else None,
            "env": self.env.state_dict(),
            "step": {
                "obs": list(step.obs),
                "state": step.state,
                "alive": step.alive,
                "action_mask": None if step.action_mask is None else list(step.action_mask),
            },
            "stats": self.stats.state_dict(),
            "random": checkpoint.random_state(self.env.spec.device),
            "counters": {"iteration": self.iteration, "steps": self.steps, "best": self.best},
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict`. Raises ValueError if it is of another environment."""
        checkpoint.check_sizes(state["sizes"], self.env.spec)
        self.learner.load_state_dict(state["learner"])
        if self.learner.replay is not None and state.get("replay") is not None:
            self.learner.replay.load_state_dict(state["replay"])
        self.stats.load_state_dict(state["stats"])
        begun = self.env.load_state_dict(state["env"])
        if begun is None:
            self.step = self.step.with_observations(**state["step"])
        else:  # this simulator cannot be saved: its episodes ended with the run
            self._begin_episodes(begun)
        self.iteration = state["counters"]["iteration"]
        self.steps = state["counters"]["steps"]
        self.best = state["counters"]["best"]
        checkpoint.restore_random_state(state["random"], self.env.spec.device)

    def _begin_episodes(self, step: Step) -> None:
        """Go on with the new episodes that `step` begins; the running ones are lost."""
        self.step = step
        self.stats.reset_episodes()
        self.learner.on_episodes_lost()

    def _replay_state(self) -> Optional[Dict[str, Any]]:
        """The replay's state, if there is one that is to be saved."""
        replay = self.learner.replay
        algo = self.cfg.algo
        if replay is None or not (isinstance(algo, ReplaySettings) and algo.save_replay):
            return None
        return replay.state_dict()


def _due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0
