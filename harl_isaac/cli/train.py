"""What `harl-train` does once launch.py has imported what must come first: composes the configuration with hydra, makes or
finds the run folder, trains."""

import os
import sys
from pathlib import Path
from typing import List

# Threads that spin while they wait take a core from the physics' threads; must be set before torch starts any.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from hydra import main as hydra_main
from omegaconf import DictConfig, OmegaConf

from harl_isaac.cli.help import help_text
from harl_isaac.cli.overrides import CONFIG, check_command_line, overrides_in, with_free_keys
from harl_isaac.config import differences, register, to_run
from harl_isaac.env import SimulatorError
from harl_isaac.registry import ALGOS, TASKS, register_external_tasks, with_new_defaults
from harl_isaac.runtime import keep_freed_memory
from harl_isaac.training import checkpoint
from harl_isaac.training.run_folder import new_run, read_overrides, saved_config
from harl_isaac.training.trainer import Trainer

USER_ERRORS = (ValueError, OSError, FloatingPointError)  # with a message meant for the user


def main() -> None:
    """What `launch.train` goes on with. Exit code 2 for a mistake of the user's, after one line."""
    keep_freed_memory()
    try:
        sys.argv[1:] = with_free_keys(with_saved_overrides(sys.argv[1:]))
        register_external_tasks(
            name for word in sys.argv[1:] if word.startswith("task=") for name in word[len("task=") :].split(",")
        )
        register()
        if {"-h", "--help"} & set(sys.argv):
            print(help_text())
            return
        check_command_line(overrides_in(sys.argv[1:]), bool({"-m", "--multirun"} & set(sys.argv)))
    except USER_ERRORS as error:
        fail(error)
    hydra_main(version_base="1.3", config_path="pkg://" + CONFIG, config_name="config")(job)()


def job(cfg: DictConfig) -> None:
    """One run (hydra calls it once, or once for each point of a multirun)."""
    try:
        train(cfg)
    except USER_ERRORS as error:
        if os.environ.get("HARL_FULL_ERROR"):
            raise
        fail(error)
    except SimulatorError as error:  # its message is long: the simulator's own traceback
        fail(error, 1)


def train(cfg: DictConfig) -> None:
    """Train a new run, or go on with one."""
    run = to_run(cfg)
    saved = None
    file = None
    if run.resume:
        file = checkpoint.find(run.resume)
        check_unchanged(cfg, checkpoint.run_folder(file))
        saved = checkpoint.load(file)
    trainer = Trainer(run, saved)
    trainer.train(checkpoint.run_folder(file) if file else new_run(cfg, run))


def with_saved_overrides(words: List[str]) -> List[str]:
    """For resume=<folder>: the run's own overrides in front of those given now."""
    resumes = [word.split("=", 1)[1] for word in words if word.startswith("resume=")]
    if not resumes or resumes[-1] in ("null", ""):
        return words
    folder = checkpoint.run_folder(checkpoint.find(resumes[-1]))
    given = {word.split("=", 1)[0].lstrip("+~") for word in words if "=" in word}
    old = [word for word in read_overrides(folder) if word.split("=", 1)[0].lstrip("+~") not in given]
    return old + words


def check_unchanged(cfg: DictConfig, folder: Path) -> None:
    """A resumed run keeps its settings. Raises ValueError that names what would differ."""
    saved = saved_config(folder)
    register_external_tasks([saved["task"]["name"]])
    saved.update(task=with_new_defaults(TASKS, saved["task"]), algo=with_new_defaults(ALGOS, saved["algo"]))
    changed = differences(saved, OmegaConf.to_container(cfg, resolve=True))
    changed.sort(key=lambda text: ".name:" not in text)  # another task or algorithm says it all
    if changed:
        raise ValueError(
            "cannot resume {} with other settings ({}); start a new run instead".format(folder, "; ".join(changed[:3]))
        )


def fail(error: Exception, code: int = 2) -> None:
    """One line on stderr, then exit."""
    print(f"harl-train: {error}", file=sys.stderr, flush=True)
    sys.exit(code)
