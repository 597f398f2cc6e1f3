"""The training loop: collect, update, log, evaluate, save."""

import math
from pathlib import Path
from typing import Any, Dict, Optional

import torch

from harl_isaac.config import RunCfg
from harl_isaac.devices import check_engine_device, choose_device
from harl_isaac.env import SimulatorError, Step
from harl_isaac.training import checkpoint
from harl_isaac.training.checkpoint import check_sizes, sizes
from harl_isaac.training.control import StopSignal, Stopwatch
from harl_isaac.training.episode_stats import EpisodeStats
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.logger import Logger, line, read

EVAL_SEED = (
    1_000_003  # added to the run's seed: evaluation episodes are the same at every evaluation, and unlike training's
)


class Trainer:
    """One run, from its settings and, to go on, a checkpoint. Nothing is written before `train`."""

    def __init__(self, cfg: RunCfg, saved: Optional[Dict[str, Any]] = None):
        self.cfg = cfg
        device = choose_device(cfg.device)
        check_engine_device(cfg.sim, device)
        torch.manual_seed(cfg.seed)
        self.env = cfg.task.make(cfg.num_envs, device, cfg.sim)
        self.learner = cfg.algo.learner(self.env.spec, cfg.seed)
        self.eval_env = None
        self.stats = EpisodeStats(self.env.spec)
        self.iteration = 0
        self.steps = 0
        self.best = -math.inf
        self.step = self.env.reset(cfg.seed)
        if saved is not None:
            self.load_state_dict(saved)
        self.watch = Stopwatch(device)

    def train(self, folder: Path) -> Dict[str, float]:
        """Until total_steps, or until a signal asks to stop; a checkpoint is there at the end either way.

        Returns the last iteration's numbers, empty if there was nothing left to do.
        """
        cfg = self.cfg
        self.folder = folder
        self.logger = Logger(folder, cfg.log.console, cfg.log.interval, cfg.total_steps, self.iteration, self.steps)
        self.logger.say(
            f"{cfg.task.name}, {cfg.algo.name}: {self.env.spec.num_agents} agents, {cfg.num_envs} "
            f"environments on {self.env.spec.device}; {folder}"
        )
        replay = self.learner.replay
        if replay is not None:
            self.logger.say(
                "replay of %d transitions: up to %.2f GiB%s%s"
                % (
                    cfg.algo.buffer_size,
                    replay.bytes / 2**30,
                    ""
                    if replay.device == self.env.spec.device
                    else " of the host's memory (slower: each batch is copied)",
                    ", in every latest.pt too (algo.save_replay=false leaves it out)" if cfg.algo.save_replay else "",
                )
            )
        try:
            numbers = self._loop()
            self.logger.say(self.summary(numbers))
        finally:  # a terminal gets its cursor back also after an error
            self.logger.close()
        return numbers

    def _loop(self) -> Dict[str, float]:
        # type: RunCfg, Dict[str, float]
        cfg = self.cfg
        numbers = {}
        with StopSignal() as stop:
            while self.steps < cfg.total_steps and not stop.asked:
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

    def summary(self, numbers: Dict[str, float]) -> str:
        """The last lines of a run."""
        finished = self.steps >= self.cfg.total_steps
        lines = [f"{('finished' if finished else 'stopped')} after {self.iteration} iterations, {self.steps} steps"]
        if numbers:
            lines.append("last iteration: " + line(numbers))
        lines.append(f"checkpoint: {self.folder / checkpoint.FOLDER / 'latest.pt'}")
        if not finished:
            lines.append(f"go on with: python train.py resume={self.folder}")
        return "\n".join(lines)

    def iterate(self) -> Dict[str, float]:
        """What the learner collects and one update; the metrics are read from the device here, once."""
        learner = self.learner
        self.watch.start()
        self.step, length = learner.collect(self.env, self.step, self.stats)
        self.watch.lap()
        metrics = learner.update(min(self.steps / self.cfg.total_steps, 1.0))
        batch = length * self.env.spec.num_envs
        self.iteration += 1
        self.steps += batch
        numbers = read({"steps": self.steps, **self.stats.drain(), **metrics})
        seconds, collecting = self.watch.stop()
        numbers.update({"time/steps_per_second": batch / seconds, "time/collect_steps_per_second": batch / collecting})
        self._check_finite(numbers)
        return numbers

    def evaluate(self) -> None:
        """Evaluate, and keep the policy if it is the best so far."""
        cfg = self.cfg
        if self.eval_env is None:
            count = min(cfg.eval.episodes, cfg.num_envs)
            exclusive = self.env.spec.exclusive
            self.eval_env = self.env if exclusive else cfg.task.make(count, self.env.spec.device, cfg.sim)
        means = evaluate_policy(self.eval_env, self.learner.actors, cfg.eval.episodes, cfg.seed + EVAL_SEED).means()
        if self.eval_env is self.env:
            self._begin_anew(self.env.reset(cfg.seed + self.iteration))
        self.logger.evaluation(self.iteration, self.steps, means)
        if means["return"] > self.best:
            self.best = means["return"]
            self.save("best")

    def save(self, name: str) -> None:
        checkpoint.save(self.folder / checkpoint.FOLDER / (name + ".pt"), self.state_dict(name != "best"))

    def state_dict(self, whole: bool = True) -> Dict[str, Any]:
        """The training state; `load_state_dict` continues exactly from it if it is whole, with its replay."""
        replay = self.learner.replay.state_dict() if whole and self._saves_replay() else None
        cuda = torch.cuda.get_rng_state(self.env.spec.device) if self.env.spec.device.type == "cuda" else None
        return {
            "sizes": sizes(self.env.spec),
            "learner": self.learner.state_dict(),
            "replay": replay,
            "env": self.env.state_dict(),
            "step": {
                "obs": list(self.step.obs),
                "state": self.step.state,
                "alive": self.step.alive,
                "action_mask": None if self.step.action_mask is None else list(self.step.action_mask),
            },
            "stats": self.stats.state_dict(),
            "random": {"torch": torch.get_rng_state(), "cuda": cuda},
            "counters": {"iteration": self.iteration, "steps": self.steps, "best": self.best},
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Raises ValueError if the state is of another environment."""
        check_sizes(state["sizes"], self.env.spec)
        device = self.env.spec.device
        self.learner.load_state_dict(state["learner"])
        if state.get("replay") is not None:
            self.learner.replay.load_state_dict(state["replay"])
        self.stats.load_state_dict(state["stats"])
        begun = self.env.load_state_dict(state["env"])
        if begun is None:
            self.step = self.step.with_view(**state["step"])
        else:  # this simulator cannot be saved: its episodes ended with the run
            self._begin_anew(begun)
        self.iteration, self.steps, self.best = (state["counters"][name] for name in ("iteration", "steps", "best"))
        torch.set_rng_state(state["random"]["torch"])
        if device.type == "cuda" and state["random"]["cuda"] is not None:
            torch.cuda.set_rng_state(state["random"]["cuda"], device)

    def _begin_anew(self, step: Step) -> None:
        """The running episodes are lost; training goes on with those that `step` begins."""
        self.step = step
        self.stats.forget()
        self.learner.forget()

    def _saves_replay(self) -> bool:
        return self.learner.replay is not None and self.cfg.algo.save_replay

    def _check_finite(self, numbers: Dict[str, float]) -> None:
        bad = [
            name
            for name, value in numbers.items()
            if name.startswith(("actor/", "critic/")) and not math.isfinite(value)
        ]
        if bad:
            raise FloatingPointError(
                f"{bad[0]} is not finite at iteration {self.iteration}; the last checkpoint is from before: "
                "resume from it with a new run and a lower learning rate"
            )


def _due(iteration: int, every: int) -> bool:
    return every > 0 and iteration % every == 0
