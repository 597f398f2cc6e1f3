"""Command of `harl-train`: compose the configuration with hydra, make or find the run folder, train.

`entry.py` imports this module, after the modules that must come before torch.
"""

import os
import re
import sys
from pathlib import Path
from typing import Any, Callable, Dict, List, NoReturn, Optional, Set, Tuple, cast

# Threads that spin while they wait take a core from the physics' threads; must be set before torch starts any.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from hydra import main as hydra_main
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from harl_isaac import ranks
from harl_isaac.algos import ALGOS
from harl_isaac.cli.commands import LAST, newest_run
from harl_isaac.cli.modules import check_plugins, literal_path, with_loaded_modules
from harl_isaac.cli.overrides import CONFIG, CommandLine, check_line, read_options, with_free_keys
from harl_isaac.cli.points import STOPPED, USER_ERRORS, report_score
from harl_isaac.cli.sweeps import check_installed, check_sweep, run_sweep
from harl_isaac.config import differences, register, to_run
from harl_isaac.env import SimulatorError
from harl_isaac.registry import plain_defaults, register_external_tasks, with_new_defaults
from harl_isaac.runtime import keep_freed_memory
from harl_isaac.tasks import TASKS
from harl_isaac.training import checkpoint
from harl_isaac.training.ownership import owned
from harl_isaac.training.policy_file import check_resumable
from harl_isaac.training.run_folder import named_folder, new_run, read_overrides, saved_config, saved_settings
from harl_isaac.training.together import entered_by_first
from harl_isaac.training.trainer import Trainer
from harl_isaac.training.trust import check_state_trusted, check_trusted

PATH_KEYS = ("resume", "init_from", "run_root")
AUTO = "auto"  # resume: the run of run_name if it has a checkpoint, else a new one
PATHS: Dict[str, str] = {}  # of this command line, by key; they pass by hydra
GIVEN: List[str] = []  # the words of this command line, without those of a resumed run


def main() -> None:
    """Parse, check and run. User errors print one line and exit with 2."""
    keep_freed_memory()
    try:
        line = read_line()
        choices = check_line(line) if line.composed else {}
        check_sweep(line, choices)
    except USER_ERRORS as error:
        fail(error)
    try:
        os.environ["HYDRA_FULL_ERROR"] = "1"  # errors come here, instead of hydra's traceback
        place = ranks.launched()
        if not line.sweep:
            with ranks.joined(place):
                return start(job)
        if place:
            raise ValueError("a sweep (-m) starts its own runs: leave torchrun out, or give it one run")
        failure = run_sweep(line, choices, last_value("run_root", line.overrides, "runs"), train, start)
    except ValueError as error:
        fail(error)
    except (OSError, HydraException) as error:  # hydra's own: its folders, its options
        fail(ValueError(" ".join(str(error).split())))
    except KeyboardInterrupt:
        fail(KeyboardInterrupt("interrupted; go on from its checkpoint, if any, with resume=<run folder>"), 130)
    if failure.code:
        fail(ValueError(failure.line), failure.code)
    return None


def read_line() -> CommandLine:
    """Read the command line, and leave it as hydra is to read it. Raises ValueError."""
    GIVEN[:] = sys.argv[1:]
    words, paths = without_paths(GIVEN)
    if paths.get("resume") == LAST:
        paths["resume"] = str(newest_run(paths.get("run_root", "runs")))
    PATHS.update(paths)
    check_installed(words)
    line = read_options(words)
    words = with_loaded_modules(line.overrides)
    words = with_free_keys(with_saved_overrides(words, paths.get("resume")))
    sys.argv[1:] = [*line.flags, *words]
    register_external_tasks(requested_tasks(words))
    for text in check_plugins(words):
        print(f"harl-train: {text}", file=sys.stderr, flush=True)
    register()
    return line._replace(overrides=words)


def start(function: Callable[[DictConfig], float]) -> None:
    """Have hydra compose the settings and call the function with them."""
    hydra_main(version_base="1.3", config_path="pkg://" + CONFIG, config_name="config")(function)()


def job(cfg: DictConfig) -> float:
    """Train and return the run's score; hydra calls it. Errors are printed."""
    try:
        score = train(cfg)
    except (*USER_ERRORS, SimulatorError) as error:
        if os.environ.get("HARL_FULL_ERROR"):
            raise
        # a simulator's message is long: its own traceback
        fail(error, 1 if isinstance(error, SimulatorError) else 2)
    except RuntimeError as error:
        if not ranks.is_loss(error):
            raise
        print(f"harl-train: {loss_text(error)}", file=sys.stderr, flush=True)
        sys.exit(1)
    report_score(score)
    return score


def train(cfg: DictConfig) -> float:
    """Train a new run, or resume one; returns its score. Exits with STOPPED after a signal."""
    for key, path in PATHS.items():
        cfg[key] = literal_path(path)
    file = to_resume(cfg)
    trainer = resume(cfg, file, sys.argv[1:], GIVEN) if file else begin(cfg)
    if trainer.stopped:
        sys.exit(STOPPED)
    return trainer.score()


def to_resume(cfg: DictConfig) -> Optional[Path]:
    """The checkpoint to go on from, None for a new run. Raises ValueError."""
    if cfg.resume != AUTO:
        return checkpoint.find(cfg.resume) if cfg.resume else None
    latest = named_folder(to_run(cfg)) / checkpoint.FOLDER / "latest.pt"
    is_there = ranks.from_first(latest.is_file())
    cfg["resume"] = str(latest.parent.parent) if is_there else None
    return latest if is_there else None


def begin(cfg: DictConfig, words: Optional[List[str]] = None) -> Trainer:
    """Train a new run; returns its trainer. Its overrides are `words`, or those of hydra. Raises ValueError."""
    run = to_run(cfg)
    trainer = Trainer(run)
    with entered_by_first(new_run(cfg, run, words)) as folder:
        trainer.train(folder)
    return trainer


def resume(cfg: DictConfig, file: Path, words: List[str], given: List[str]) -> Trainer:
    """Go on with the run that the checkpoint `file` is of; returns its trainer. Raises ValueError.

    `words` are all overrides, those of the run included, `given` the user's own.
    """
    folder = checkpoint.run_folder(file)
    cfg = without_later_settings(cfg, folder, words)
    run = to_run(cfg)
    with entered_by_first(owned(folder)):
        check_unchanged(cfg, folder)
        check_trusted(run.task, folder, run.trust, given)
        check_state_trusted(run.task, folder, run.trust)
        saved = checkpoint.load(file)
        checkpoint.check_run(saved, run.task.name, run.algo.name, file)
        with checkpoint.damage_named(file):
            checkpoint.check_finite_weights(saved["learner"]["actors"], file)
            trainer = Trainer(run, saved)
        trainer.train(folder)
    return trainer


def without_paths(words: List[str]) -> Tuple[List[str], Dict[str, str]]:
    """The words without resume=, init_from= and run_root=, and those paths, which hydra's grammar could not read.

    A path may be quoted as hydra wants it; in a sweep (-m) all words are left to hydra.
    """
    if read_options(words).sweep:
        return words, {}
    rest = []
    paths = {}
    for word in words:
        key, equals, value = word.partition("=")
        if equals and key in PATH_KEYS and value not in ("", "null", AUTO):
            paths[key] = _unquoted(value)
        else:
            rest.append(word)
    return rest, paths


def _unquoted(path: str) -> str:
    """A path without the quotes that hydra would need, unless they are part of its name."""
    quoted = len(path) > 1 and path[0] == path[-1] and path[0] in "'\""
    return path[1:-1] if quoted and not Path(path).exists() else path


def requested_tasks(words: List[str]) -> List[str]:
    """Names given as task=; several in a sweep, as task=a,b or task=choice(a,b)."""
    names: List[str] = []
    for word in words:
        if word.startswith("task="):
            names += re.sub(r"^choice\((.*)\)$", r"\1", word[len("task=") :]).split(",")
    return [name.strip() for name in names]


def last_value(key: str, words: List[str], default: str) -> str:
    """Value of an override, the last one of the key."""
    found = [word.partition("=")[2] for word in words if word.startswith(key + "=")]
    return _unquoted(found[-1]) if found else default


def with_saved_overrides(words: List[str], run: Optional[str]) -> List[str]:
    """The command line that resumes `run`, preceded by the run's own overrides of keys that are not given now."""
    if run is None:
        return words
    file = checkpoint.find(run)
    check_resumable(file)
    folder = checkpoint.run_folder(file)
    saved_settings(folder, trust="trust=true" in words)  # a damaged folder is named here
    given = {_key(word) for word in words if "=" in word}
    own = read_overrides(folder)
    if not any(_key(word) == "preset" for word in own):  # a run from before there were presets
        own = ["preset=none", *own]
    return [word for word in own if _key(word) not in given and _key(word) not in PATH_KEYS] + words


def _key(word: str) -> str:
    """Key of an override, without hydra's prefixes."""
    return word.split("=", 1)[0].lstrip("+~")


def without_later_settings(cfg: DictConfig, folder: Path, words: List[str]) -> DictConfig:
    """The settings with defaults for those that the run in `folder` began without, unless `words` give them.

    The run's experiment may have got values for them since.
    """
    saved = saved_config(folder)
    given = {_key(word) for word in words}
    cfg = cfg.copy()
    register_external_tasks([saved["task"]["name"]])
    for group, registry in (("task", TASKS), ("algo", ALGOS)):
        defaults = plain_defaults(registry, saved[group]["name"])
        _restore_defaults(cfg[group], saved[group], defaults, group + ".", given)
    return cfg


def _restore_defaults(
    node: DictConfig, saved: Dict[str, Any], defaults: Dict[str, Any], at: str, given: Set[str]
) -> None:
    """Write defaults into a part of the settings for keys that `saved` lacks, here and deeper, but for those given."""
    for key, value in defaults.items():
        if key not in node:
            continue
        if isinstance(value, dict) and value and isinstance(saved.get(key, {}), dict):
            _restore_defaults(node[key], saved.get(key, {}), value, f"{at}{key}.", given)
        elif key not in saved and at + key not in given:
            node[key] = value


def check_unchanged(cfg: DictConfig, folder: Path) -> None:
    """Raise ValueError, with the differences, unless the settings are those of the run in `folder`."""
    saved = saved_config(folder)
    register_external_tasks([saved["task"]["name"]])
    saved["task"] = with_new_defaults(TASKS, saved["task"])
    saved["algo"] = with_new_defaults(ALGOS, saved["algo"])
    changed = differences(saved, cast(Dict[str, Any], OmegaConf.to_container(cfg, resolve=True)))
    changed.sort(key=lambda text: ".name:" not in text)  # another task or algorithm says it all
    if changed:
        listed = "; ".join(changed[:3])
        raise ValueError(f"cannot resume {folder} with other settings ({listed}); start a new run instead")


def loss_text(error: BaseException) -> str:
    """A line on the end of another process of the run."""
    reason = str(error).splitlines()[0][:120]
    return f"another process of this run is gone ({reason}); its last checkpoint is there: resume=<run folder> goes on"


def fail(error: BaseException, code: int = 2) -> NoReturn:
    """Print the error as one line on stderr, by the first process for all, then exit."""
    place = ranks.launched()
    if place and place.rank > 0:
        sys.exit(code)
    print(f"harl-train: {error}", file=sys.stderr, flush=True)
    sys.exit(code)
