"""A sweeper of hydra's over Optuna: it asks for settings, launches their runs and tells how they scored.

The study is kept in a file, trial by trial, so that the same command goes on with it. hydra-optuna-sweeper needs
Optuna 2 for Hydra 1.3, and begins a study's trials anew.
"""

import json
import math
from pathlib import Path
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, cast

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override, RangeSweep
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hydra.plugins.sweeper import Sweeper
from hydra.types import HydraContext, TaskFunction
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from harl_isaac.cli.overrides import explain
from harl_isaac.cli.points import PointStopped, say
from harl_isaac.outputs import write_text
from harl_isaac.training.ownership import owned

SAMPLERS = {
    "tpe": "TPESampler",
    "random": "RandomSampler",
    "cmaes": "CmaEsSampler",
    "gp": "GPSampler",
    "qmc": "QMCSampler",
}
DIRECTIONS = ("maximize", "minimize")
JOURNAL = "study.journal"  # Optuna's own records
FREE_TO_CHANGE = ("launcher=", "sweeper=", "run_root=", "device=", "log.", "checkpoint.")
SPACE = "space.json"  # what the study was begun with
BEST = "best.json"


class SearchError(Exception):
    """A search that cannot be, or that found nothing; the message is for the user."""


class Search(NamedTuple):
    """Settings that hold for every trial, and the values that the others are chosen from."""

    fixed: List[str]
    space: Dict[str, Any]  # key -> Optuna's distribution


class OptunaSweeper(Sweeper):
    """Search the sweep's intervals, ranges and choices for the best score."""

    config: DictConfig
    context: HydraContext
    launcher: Launcher

    def __init__(
        self,
        n_trials: int,
        n_jobs: Optional[int],
        study: Optional[str],
        sampler: str,
        direction: str,
        seed: Optional[int],
        params: Dict[str, Any],
    ):
        self.n_trials = n_trials
        self.n_jobs = n_jobs
        self.name = study
        self.sampler = sampler
        self.direction = direction
        self.seed = seed
        self.params = params

    def setup(self, *, hydra_context: HydraContext, task_function: TaskFunction, config: DictConfig) -> None:
        """Take over what hydra has composed, and make the launcher."""
        self.check_settings()
        self.config = config
        self.context = hydra_context
        self.launcher = Plugins.instance().instantiate_launcher(
            hydra_context=hydra_context, task_function=task_function, config=config
        )

    def check_settings(self) -> None:
        """Raise SearchError, with what is possible, for a setting that cannot be."""
        if self.sampler not in SAMPLERS:
            raise SearchError(f"hydra.sweeper.sampler={self.sampler} is unknown; possible: {', '.join(SAMPLERS)}")
        if self.direction not in DIRECTIONS:
            raise SearchError(f"hydra.sweeper.direction={self.direction} is unknown; possible: {', '.join(DIRECTIONS)}")
        for key, number in (("n_trials", self.n_trials), ("n_jobs", self.n_jobs)):
            if number is not None and (not isinstance(number, int) or number < 1):
                raise SearchError(f"hydra.sweeper.{key}={number} must be a whole number of at least 1")
        if self.name is not None and Path(self.name).name != self.name:
            raise SearchError(f"hydra.sweeper.study={self.name} must be a name without folders")

    def sweep(self, arguments: List[str]) -> Any:
        """Run the trials that are left. Raises SearchError, PointStopped."""
        search = self.search_of([f"{key}={value}" for key, value in self.params.items()] + arguments)
        now = Path(self.config.hydra.sweep.dir)
        folder = now.parent / self.name if self.name else now
        folder.mkdir(parents=True, exist_ok=True)
        with owned(folder):
            check_same(folder / SPACE, search)
            study = self.open_study(folder)
            self.run_trials(study, search, folder)
            report(study, folder)

    def search_of(self, words: List[str]) -> Search:
        """Sort the overrides into fixed ones and the space. Raises SearchError."""
        parser = OverridesParser.create(config_loader=self.context.config_loader)
        fixed: Dict[str, str] = {}
        space: Dict[str, Any] = {}
        for override in parser.parse_overrides(words):
            key = override.get_key_element()
            if override.is_sweep_override():
                space[key] = distribution(override)
                fixed.pop(key, None)
            else:
                fixed[key] = f"{key}={override.get_value_element_as_str()}"
                space.pop(key, None)
        if not space:
            raise SearchError("nothing to search: give values, such as algo.lr=interval(1e-4,1e-3) or algo=happo,mappo")
        return Search(list(fixed.values()), space)

    def open_study(self, folder: Path) -> Any:
        """Optuna's study in the folder: a new one, or the one that is there."""
        import optuna
        from optuna.storages import JournalStorage
        from optuna.storages.journal import JournalFileBackend

        optuna.logging.set_verbosity(optuna.logging.WARNING)
        seed = {} if self.seed is None else {"seed": self.seed}
        try:
            sampler = getattr(optuna.samplers, SAMPLERS[self.sampler])(**seed)
        except ImportError as error:
            reason = str(error).split("\n")[0]
            raise SearchError(f"hydra.sweeper.sampler={self.sampler} needs another package ({reason})") from None
        return optuna.create_study(
            study_name=folder.name,
            storage=JournalStorage(JournalFileBackend(str(folder / JOURNAL))),
            sampler=sampler,
            direction=self.direction,
            load_if_exists=True,
        )

    def run_trials(self, study: Any, search: Search, folder: Path) -> None:
        """Run the trials that an earlier command began, then new ones up to n_trials. Raises PointStopped."""
        from optuna.trial import TrialState

        begun = [trial for trial in study.get_trials(deepcopy=False) if trial.state == TrialState.RUNNING]
        done = len(study.get_trials(deepcopy=False)) - len(begun)
        if done:
            say(f"study {folder}: goes on, {done} of {self.n_trials} trials are done")
        while begun or done < self.n_trials:
            size = self.batch_size()
            batch = begun[:size]
            begun = begun[size:]
            while not begun and len(batch) < min(size, self.n_trials - done):
                batch.append(study.ask(search.space))
            done += len(batch)
            self.run_batch(study, search, folder, batch)

    def batch_size(self) -> int:
        """The number of trials that are launched together."""
        return self.n_jobs or max(1, int(self.config.hydra.launcher.get("n_jobs") or 1))

    def run_batch(self, study: Any, search: Search, folder: Path, batch: Sequence[Any]) -> None:
        """Launch trials and tell the study how they ended. Raises PointStopped; those trials are left as begun."""
        possible = []
        for trial in batch:
            words = trial_words(search.fixed, trial, folder.name)
            try:
                self.context.config_loader.load_sweep_config(self.config, words)
                possible.append((trial, words))
            except (HydraException, OmegaConfBaseException) as error:
                self.tell(study, trial.number, None, f"{explain(error, words)}")
        if not possible:
            return
        numbers = [trial.number for trial, _ in possible]
        results = self.launcher.launch([words for _, words in possible], initial_job_idx=numbers[0])
        stopped = None
        for number, result in zip(numbers, results):
            outcome = getattr(result, "_return_value", None)
            if isinstance(outcome, PointStopped):
                stopped = outcome
            else:
                self.tell(study, number, score_of(result), str(outcome))
        if stopped is not None:
            raise stopped

    def tell(self, study: Any, number: int, score: Optional[float], error: str) -> None:
        """Tell the study a trial's score, None if it failed."""
        from optuna.trial import TrialState

        if score is None:
            study.tell(number, state=TrialState.FAIL)
            say(f"trial {number} failed: {error}")
        else:
            study.tell(number, score)
            params = study.get_trials(deepcopy=False)[number].params
            say(f"trial {number}: score {score:.5g} of {' '.join(point_of(params))}")


def distribution(override: Override) -> Any:
    """Optuna's distribution of a sweep's values; those of a choice are hydra's own words. Raises SearchError."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    sweep = override.value()
    try:
        if isinstance(sweep, IntervalSweep):
            log = "log" in sweep.tags
            if isinstance(sweep.start, int) and isinstance(sweep.end, int):
                return IntDistribution(sweep.start, sweep.end, log=log)
            return FloatDistribution(cast(float, sweep.start), cast(float, sweep.end), log=log)
        if isinstance(sweep, RangeSweep) and isinstance(sweep.range(), range):
            values = cast(range, sweep.range())
            return IntDistribution(values[0], values[-1], step=values.step)
        return CategoricalDistribution(list(override.sweep_string_iterator()))
    except (ValueError, IndexError) as error:
        raise SearchError(f"{override.input_line}: {error}") from None


def trial_words(fixed: List[str], trial: Any, study: str) -> List[str]:
    """Overrides of a trial. Its run is named by it, so that a trial that was stopped goes on."""
    words = [*fixed, *point_of(trial.params)]
    if any(word.startswith(("run_name=", "resume=")) for word in fixed):
        return words
    return [*words, f"run_name='{study}-{trial.number:03d}'", "resume=auto"]


def point_of(params: Dict[str, Any]) -> List[str]:
    """Chosen settings as overrides."""
    return [f"{key}={value}" for key, value in params.items()]


def score_of(result: JobReturn) -> Optional[float]:
    """The score that a job returned, None if it failed or has no number."""
    if result.status != JobStatus.COMPLETED:
        return None
    try:
        value = float(result.return_value)
    except (TypeError, ValueError):
        return None
    return value if math.isfinite(value) else None


def check_same(file: Path, search: Search) -> None:
    """Keep what a study was begun with. Raises SearchError for other settings: its scores could not be compared."""
    now = sorted(word for word in search.fixed if not word.startswith(FREE_TO_CHANGE))
    now += [f"{key}={values}" for key, values in search.space.items()]
    if not file.exists():
        write_text(file, json.dumps(now, indent=2))
        return
    before = json.loads(file.read_text())
    changed = [f"was {word}" for word in before if word not in now] + [f"now {w}" for w in now if w not in before]
    if changed:
        raise SearchError(f"the study in {file.parent} has other settings ({'; '.join(changed)}); give it another name")


def report(study: Any, folder: Path) -> None:
    """Print the best trial and keep it in a file. Raises SearchError if no trial has a score."""
    from optuna.trial import TrialState

    trials = study.get_trials(deepcopy=False)
    failed = sum(trial.state == TrialState.FAIL for trial in trials)
    if not any(trial.state == TrialState.COMPLETE for trial in trials):
        raise SearchError(f"none of the {len(trials)} trials in {folder} has a score; what failed is said above")
    best = study.best_trial
    words = point_of(best.params)
    found = {
        "score": best.value,
        "trial": best.number,
        "overrides": words,
        "trials": len(trials),
        "failed": failed,
    }
    write_text(folder / BEST, json.dumps(found, indent=2) + "\n")
    say(f"best of {len(trials)} trials ({failed} failed): {best.value:.5g}, trial {best.number}: {' '.join(words)}")
    say(f"kept in {folder / BEST}")
