"""The training loop: collect, update, log, evaluate, save."""

import math
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Optional, Union

import torch

from harl_isaac import ranks
from harl_isaac.config import RunCfg
from harl_isaac.devices import check_engine_device, own_device, set_precision
from harl_isaac.env import EnvironmentFault, MultiAgentEnv, SimulatorError, Step
from harl_isaac.faults import check_begun
from harl_isaac.memory import shortage_explained
from harl_isaac.training import checkpoint, films, wandb_sync
from harl_isaac.training.control import StopSignal, Stopwatch
from harl_isaac.training.episode_stats import EpisodeStats
from harl_isaac.training.logger import Logger, NoLogger, read
from harl_isaac.training.report import (
    ReplaySettings,
    check_finite,
    checkpoint_text,
    end_text,
    fault_text,
    replay_text,
    resume_text,
    start_text,
    warmup_text,
)
from harl_isaac.training.saved_spec import spec_state
from harl_isaac.training.together import (
    evaluate_together,
    own_state,
    processes_text,
    raise_together,
    with_all_states,
    write_by_first,
)
from harl_isaac.training.trust import needs_trust
from harl_isaac.training.warm_start import start_from

LESS_MEMORY = "choose fewer environments (num_envs), shorter rollouts or smaller networks and batches (algo.*)"
EVAL_SEED = 1_000_003  # added to the run's: episodes are the same at every evaluation, and unlike those of training


class Trainer:
    """One run, from its settings and, to go on, a checkpoint. Nothing is written before `train`."""

    folder: Path  # of the run, from `train` on
    logger: Union[Logger, NoLogger]

    def __init__(self, cfg: RunCfg, saved: Optional[Dict[str, Any]] = None):
        wandb_sync.check_wandb(cfg.log)
        device = own_device(cfg.device)
        check_engine_device(cfg.sim, device)
        set_precision(cfg.precision)
        torch.manual_seed(cfg.seed)
        self.cfg = cfg
        with shortage_explained(LESS_MEMORY):
            self.env = cfg.task.make(ranks.share(cfg.num_envs, "num_envs"), device, cfg.sim)
            self.learner = cfg.algo.learner(self.env.spec, cfg.seed)
        if not ranks.is_first():  # networks begin alike, all else differs
            torch.manual_seed(ranks.seed(cfg.seed))
        self.eval_env: Optional[MultiAgentEnv] = None  # made for the first evaluation
        self.stats = EpisodeStats(self.env.spec)
        self.watch = Stopwatch(device)
        self.numbers: Dict[str, float] = {}  # of the last iteration
        self.iteration = 0
        self.steps = 0  # environment steps, of all environments together
        self.best = -math.inf  # return of the best evaluation
        self.begun = ""  # a line that says what the policies begin with
        try:
            self.step = self.env.reset(ranks.seed(cfg.seed))  # the latest: the agents act on it next
            check_begun(self.env.spec, self.step)
            if saved is not None:
                self.load_state_dict(saved)
            elif cfg.init_from:
                self.begun = start_from(cfg.init_from, self.learner, cfg.algo)
        except EnvironmentFault as fault:
            outcome = "there is no checkpoint yet" if saved is None else "the checkpoint is as it was"
            raise EnvironmentFault(fault_text(cfg, fault, "at a reset", outcome)) from None

    def train(self, folder: Path) -> Dict[str, float]:
        """Train until total_steps, or until a signal asks to stop; a checkpoint is there at the end either way.

        Returns the last iteration's numbers, empty if there was nothing left to do.
        """
        cfg = self.cfg
        self.folder = folder
        record = None
        self.logger = NoLogger()
        if ranks.is_first():
            record = wandb_sync.start(cfg.log, folder, asdict(cfg))  # before the event file is opened
            self.logger = Logger(folder, cfg.log.console, cfg.log.interval, cfg.total_steps, self.iteration, self.steps)
        self.logger.settings(asdict(cfg), self.steps)
        self.logger.say(start_text(cfg, self.env, folder))
        if self.begun:
            self.logger.say(self.begun)
        replay = self.learner.replay
        if replay is not None and isinstance(cfg.algo, ReplaySettings):
            self.logger.say(replay_text(cfg.algo, replay.bytes, replay.device != self.env.spec.device))
        warmup = self.learner.steps_before_update
        if warmup and self.steps < cfg.total_steps:
            self.logger.say(warmup_text(warmup, cfg.total_steps - self.steps))
        try:
            with shortage_explained(LESS_MEMORY):
                self.numbers = numbers = self._loop()
            self.logger.say(self.summary(numbers))
        finally:  # a terminal gets its cursor back also after an error
            self.logger.close()
            wandb_sync.finish(record)
        return numbers

    @property
    def stopped(self) -> bool:
        """Whether there are steps left, as after a signal."""
        return self.steps < self.cfg.total_steps

    def score(self) -> float:
        """Return of the best evaluation, or of the last iteration's episodes where none was made."""
        best = self.best if self.best > -math.inf else self.numbers.get("episode/return", math.nan)
        return float(best)

    def _loop(self) -> Dict[str, float]:
        cfg = self.cfg
        numbers: Dict[str, float] = {}
        with StopSignal() as stop:
            while self.steps < cfg.total_steps and not any(ranks.tell_all(stop.requested)):
                try:
                    numbers = self.iterate()
                    self.logger.iteration(self.iteration, self.steps, numbers)
                    if _due(self.iteration, cfg.eval.interval):
                        self.evaluate()
                except EnvironmentFault as fault:
                    when = f"after {self.steps} steps"
                    raise EnvironmentFault(fault_text(cfg, fault, when, self._rescue())) from None
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
        length = self._collect()
        self.watch.lap()
        metrics = self.learner.update(min(self.steps / self.cfg.total_steps, 1.0))
        batch = length * self.env.spec.num_envs * ranks.world()
        self.iteration += 1
        self.steps += batch
        faults = self.learner.faults
        found = {} if faults is None else {"faults": ranks.anywhere(faults.any())}
        numbers = read({"steps": self.steps, **self.stats.drain(), **metrics, **found})
        seconds, collecting = self.watch.stop()
        numbers.update({"time/steps_per_second": batch / seconds, "time/collect_steps_per_second": batch / collecting})
        if faults is not None and numbers.pop("faults"):
            text = next(text for text in ranks.tell_all(faults.describe()) if text)
            faults.clear()
            raise EnvironmentFault(text)
        check_finite(numbers, self.iteration, getattr(self, "folder", None))
        numbers.update(self.learner.adapt(numbers))
        return numbers

    def _collect(self) -> int:
        """Collect an iteration's experience; returns the steps of each environment. Raises SimulatorError."""
        length = 0
        error: Optional[SimulatorError] = None
        try:
            self.step, length = self.learner.collect(self.env, self.step, self.stats)
        except SimulatorError as caught:
            error = caught
        raise_together(error)
        return length

    def evaluate(self) -> None:
        """Evaluate, and keep the policy if it is the best so far."""
        cfg = self.cfg
        if self.eval_env is None:
            count = -(-min(cfg.eval.episodes, cfg.num_envs) // ranks.world())
            exclusive = self.env.spec.exclusive  # the process can hold no second environment
            task = cfg.task.for_evaluation()
            self.eval_env = self.env if exclusive else task.make(count, self.env.spec.device, cfg.sim)
        seed = ranks.seed(cfg.seed + EVAL_SEED)

        def explained(fault: EnvironmentFault) -> str:
            return fault_text(cfg, fault, f"in an evaluation of seed {seed}", "training is saved")

        means = evaluate_together(self.eval_env, self.learner.actors, cfg.eval.episodes, seed, explained).means()
        if self.eval_env is self.env:
            self._begin_episodes(self.env.reset(ranks.seed(cfg.seed + self.iteration)))
        self.logger.evaluation(self.iteration, self.steps, means)
        if means["return"] > self.best:
            self.best = means["return"]
            self.save("best")
        if _due(self.iteration // max(cfg.eval.interval, 1), cfg.eval.video_interval):
            self.film()

    def film(self) -> None:
        """Write a video of an episode as the policy plays now; where there can be none, say why and go on."""
        file = self.folder / checkpoint.FOLDER / (films.FILMED + ".pt")
        out = self.folder / films.FOLDER / f"{self.steps:012d}.mp4"
        try:
            self.save(films.FILMED)
            reason = films.film_once(file, out, needs_trust(self.cfg)) if ranks.is_first() else ""
        except OSError as error:  # a full disk ends the run at the next checkpoint that counts
            reason = str(error)
        self.logger.say(f"no video: {reason}" if reason else f"video: {out}")

    def summary(self, numbers: Dict[str, float]) -> str:
        """The last lines of a run."""
        return end_text(numbers, self.iteration, self.steps, self.cfg.total_steps, self.folder, needs_trust(self.cfg))

    def save(self, name: str) -> None:
        """Write the checkpoint `name`.pt of the run folder."""
        state = self.state_dict(name not in ("best", films.FILMED))
        write_by_first(lambda: checkpoint.save(self.folder / checkpoint.FOLDER / (name + ".pt"), state))

    def state_dict(self, whole: bool = True) -> Dict[str, Any]:
        """The training state; `load_state_dict` continues exactly from it if it is whole, with its replay."""
        step = self.step
        own = {
            "task": self.cfg.task.name,
            "algo": self.cfg.algo.name,
            "sizes": checkpoint.sizes(self.env.spec),
            "spec": spec_state(self.env.spec),
            "settings": checkpoint.settings_state(self.cfg.task, self.cfg.algo, self.cfg.modules),
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
        return with_all_states(own, self.learner)

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict`. Raises ValueError if it is of another environment.

        Of another number of processes, only what was learned goes on: episodes and replay begin anew.
        """
        checkpoint.check_sizes(state["sizes"], self.env.spec)
        self.learner.load_state_dict(state["learner"])
        self.iteration, self.steps, self.best = checkpoint.counters(state)
        own = own_state(state)
        if own is None:
            self.begun = processes_text(state)
            self._begin_episodes(self.env.reset(ranks.seed(self.cfg.seed + self.iteration)))
            return
        if not ranks.is_first():
            self.learner.load_own_state(own["learner"])
        if self.learner.replay is not None and own.get("replay") is not None:
            self.learner.replay.load_state_dict(own["replay"])
        self.stats.load_state_dict(own["stats"])
        begun = self.env.load_state_dict(own["env"])
        if begun is None:
            self.step = self.step.with_observations(**own["step"])
        else:  # this simulator cannot be saved: its episodes ended with the run
            self._begin_episodes(begun)
        checkpoint.restore_random_state(own["random"], self.env.spec.device)

    def _rescue(self) -> str:
        """Save the run, with new episodes in place of a faulty environment's; returns what there is to go on from."""
        try:
            self._begin_episodes(self.env.reset(ranks.seed(self.cfg.seed + self.iteration)))
            self.stats.drain()  # what was counted since the last metrics
        except Exception as error:  # whatever it raises: it is broken
            return f"it could not begin anew ({error}), so nothing was saved; {checkpoint_text(self.folder)}"
        self.save("latest")
        return f"saved, with new episodes; {resume_text(self.folder, needs_trust(self.cfg))}"

    def _begin_episodes(self, step: Step) -> None:
        """Go on with the new episodes that `step` begins; the running ones are lost. Raises EnvironmentFault."""
        check_begun(self.env.spec, step)
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
