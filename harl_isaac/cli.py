"""`harl-train`: composes the configuration with hydra, makes or finds the run folder, trains."""

import difflib
import os
import re
import sys
from pathlib import Path
from typing import List

# Threads that spin while they wait take a core from the physics' threads; must be set before torch starts any.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

from hydra import compose, initialize_config_module, main as hydra_main  # noqa: E402
from hydra.core.global_hydra import GlobalHydra  # noqa: E402
from hydra.core.override_parser.overrides_parser import OverridesParser  # noqa: E402
from hydra.errors import HydraException  # noqa: E402
from omegaconf import DictConfig, OmegaConf  # noqa: E402
from omegaconf.errors import OmegaConfBaseException  # noqa: E402

from harl_isaac import checkpoint  # noqa: E402
from harl_isaac.config import differences, register, to_run  # noqa: E402
from harl_isaac.runs import new_run, read_overrides, saved_config  # noqa: E402

CONFIG = "harl_isaac.cfg"
VALUED_FLAGS = ("-c", "--cfg", "-p", "--package", "-i", "--info", "-cp", "--config-path", "-cn", "--config-name", "-cd",
                "--config-dir", "--experimental-rerun")
USER_ERRORS = (ValueError, OSError, FloatingPointError)  # with a message meant for the user


def main() -> None:
    """Entry of `harl-train` and `python train.py`. Exit code 2 for a mistake of the user's, after one line."""
    register()
    try:
        sys.argv[1:] = with_saved_overrides(sys.argv[1:])
        if {"-h", "--help"} & set(sys.argv):
            sys.argv.append("task=ShadowHandOver")  # hydra composes before it helps
        check_command_line(overrides_in(sys.argv[1:]))
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


def train(cfg: DictConfig) -> None:
    """Train a new run, or go on with one."""
    run = to_run(cfg)
    saved, file = None, None
    if run.resume:
        file = checkpoint.find(run.resume)
        refuse_changes(cfg, checkpoint.run_folder(file))
        saved = checkpoint.load(file)
    from harl_isaac.trainer import Trainer  # after the cheap checks: torch and the engines take seconds

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


def refuse_changes(cfg: DictConfig, folder: Path) -> None:
    """A resumed run keeps its settings. Raises ValueError that names what would differ."""
    changed = differences(saved_config(folder), OmegaConf.to_container(cfg, resolve=True))
    if changed:
        raise ValueError("cannot resume %s with other settings (%s); start a new run instead" % (
            folder, "; ".join(changed[:3])))


def overrides_in(words: List[str]) -> List[str]:
    """The command line without hydra's own options and their values."""
    return [word for before, word in zip([""] + words, words) if not word.startswith("-") and before not in VALUED_FLAGS]


def check_command_line(words: List[str]) -> None:
    """Compose once, to say in one line what is wrong with the command. Raises ValueError."""
    try:
        plain = [first_point(override) for override in OverridesParser.create().parse_overrides(words)]
        with initialize_config_module(CONFIG, version_base="1.3"):
            to_run(compose("config", plain))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, words)) from None
    finally:
        GlobalHydra.instance().clear()


def first_point(override) -> str:
    """An override as it is, a sweep's (seed=1,2,3) by its first value."""
    if not override.is_sweep_override():
        return override.input_line
    return "%s=%s" % (override.key_or_group, next(iter(override.sweep_string_iterator())))


def explain(error: Exception, words: List[str]) -> str:
    """Hydra's and OmegaConf's errors as one line, with the nearest name where one was misspelt."""
    causes = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        causes.append(str(error))
    text = "\n".join(causes)
    missing = re.search(r"Could not find '(?P<group>\w+)/(?P<name>[^']+)'", text)
    if missing:
        return unknown(missing["group"], missing["name"], registry(missing["group"]))
    key = re.search(r"Key '(?P<key>[^']+)' (?:is )?not in '(?P<cls>\w+)'", text)
    if key:
        full = re.search(r"full_key: (\S+)", text)
        return unknown("key", full[1] if full else key["key"], known_keys(words, full[1] if full else key["key"]))
    if "You must specify 'task'" in text:
        return "give a task, such as task=ShadowHandOver; possible: " + ", ".join(registry("task"))
    lines = [part.strip() for part in causes[-1].split("\n") if part.strip() and "https:" not in part]
    if "override" in lines[0] or "alternative" in lines[0]:
        return "cannot read %s (%s); give key=value" % (" ".join(words), "; ".join(lines))
    where = re.search(r"full_key: (\S+)", text)
    return (where[1] + ": " if where else "") + lines[0]


def unknown(kind: str, given: str, possible: List[str]) -> str:
    """task "Shadowhandover" unknown; did you mean "ShadowHandOver"? possible: ..."""
    folded = {name.lower(): name for name in possible}
    near = difflib.get_close_matches(given.lower(), list(folded), 1, 0.5)
    hint = "; did you mean %s?" % folded[near[0]] if near else ""
    return "%s %s is unknown%s possible: %s" % (kind, given, hint or ";", ", ".join(possible))


def registry(group: str) -> List[str]:
    from harl_isaac.algos import ALGOS
    from harl_isaac.tasks import TASKS

    return sorted({"task": TASKS, "algo": ALGOS}.get(group, {}))


def known_keys(words: List[str], given: str) -> List[str]:
    """The keys beside a misspelt one."""
    parent = given.rpartition(".")[0]
    choices = [word for word in words if re.match(r"(task|algo)=[A-Za-z]", word)]
    with initialize_config_module(CONFIG, version_base="1.3"):
        node = compose("config", choices)
    if parent:
        node = OmegaConf.select(node, parent)
    return ["%s.%s" % (parent, key) if parent else str(key) for key in node or {}]


def fail(error: Exception, code: int = 2) -> None:
    """One line on stderr, then exit."""
    print("harl-train: %s" % error, file=sys.stderr, flush=True)
    sys.exit(code)
