"""Checks of a command line: hydra's errors as one line in the user's terms, with the nearest name."""

import difflib
import re
from collections import Counter
from itertools import islice
from os.path import commonprefix
from pathlib import Path
from typing import Dict, List, NamedTuple, NoReturn, cast

from hydra import compose, initialize_config_module
from hydra._internal.utils import get_args_parser
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import IntervalSweep, Override
from hydra.errors import HydraException
from omegaconf import OmegaConf, open_dict
from omegaconf.errors import OmegaConfBaseException

from harl_isaac.cli.groups import group_names
from harl_isaac.cli.modules import quoted
from harl_isaac.config import chosen_preset, to_run

CONFIG = "harl_isaac.cfg"
SEARCHPATH = "hydra.searchpath="
FREE = (
    "task.kwargs.",  # of a simulator's own
    "task.options.",
    "task.curriculum.start.",
)  # names that the schema does not list: hydra adds them only after a ++


class CommandLine(NamedTuple):
    """A command line as hydra reads it."""

    overrides: List[str]
    flags: List[str]  # hydra's own options with their values
    sweep: bool  # several runs are asked for
    config: str  # name of the configuration
    folder: str  # with configurations of the user's own, '' for none
    composed: bool  # the overrides are composed, unlike those of --hydra-help


def read_options(words: List[str]) -> CommandLine:
    """Sort a command line, whose options may stand anywhere. Raises ValueError in one line."""
    parser = get_args_parser()
    parser.error = refuse  # type: ignore[method-assign]
    args = parser.parse_intermixed_args(words)
    if args.config_path:
        raise ValueError(f"--config-path {args.config_path} would replace all settings; --config-dir adds a folder")
    folder = args.config_dir or ""
    if folder and not Path(folder).is_dir():
        raise ValueError(f"--config-dir {folder}: there is no such folder")
    sweep = args.multirun or "hydra.mode=MULTIRUN" in args.overrides
    other = args.hydra_help or args.shell_completion or args.experimental_rerun
    flags = list(words)
    for override in args.overrides:
        flags.remove(override)
    return CommandLine(args.overrides, flags, sweep, args.config_name or "config", folder, not other)


def refuse(message: str) -> NoReturn:
    """Raise ValueError for an option that hydra does not have."""
    raise ValueError(f"{message}; --hydra-help lists the options")


def with_free_keys(words: List[str]) -> List[str]:
    """The command line as hydra wants it, task.kwargs.N=3 as ++task.kwargs.N=3."""
    return ["++" + word if word.startswith(FREE) else word for word in words]


def check_command_line(words: List[str], several: bool = False) -> Dict[str, str]:
    """Check overrides, as `check_line` does; `several`: sweeps are allowed (-m). Raises ValueError with one line."""
    return check_line(CommandLine(words, [], several, "config", "", True))


def check_line(line: CommandLine) -> Dict[str, str]:
    """Compose the configuration once to find mistakes; returns the names chosen, by group ("hydra/launcher").

    Raises ValueError with one line.
    """
    words = line.overrides
    try:
        with initialize_config_module(CONFIG, version_base="1.3"):
            parser = OverridesParser.create(GlobalHydra.instance().config_loader())
            overrides = parser.parse_overrides(words)
            check_no_deletion(overrides)
            if "preset=null" in words:  # which hydra refuses in words of its own
                raise ValueError(unknown_name("preset", "null", group_names("preset")))
            plain = [first_point(override, line.sweep) for override in overrides]
            cfg = compose(line.config, with_folder(plain, line.folder), return_hydra_config=True)
            choices = dict(cfg.hydra.runtime.choices)
            check_searched(overrides, choices)
            choices["preset"] = chosen_preset(choices)
            check_preset(overrides, choices["preset"])
            with open_dict(cfg):
                del cfg["hydra"]
            to_run(cfg)
    except (HydraException, OmegaConfBaseException, AssertionError) as error:
        raise ValueError(explain(error, words)) from None
    finally:
        GlobalHydra.instance().clear()
    return choices


def with_folder(words: List[str], folder: str) -> List[str]:
    """The overrides, with a folder of configurations in hydra's search path."""
    if not folder:
        return words
    place = quoted(f"file://{Path(folder).resolve()}")
    given = [word[:-1] for word in words if word.startswith(SEARCHPATH) and word.endswith("]")]
    rest = [word for word in words if not word.startswith(SEARCHPATH)]
    return [*rest, f"{given[-1]},{place}]" if given else f"{SEARCHPATH}[{place}]"]


def check_searched(overrides: List[Override], choices: Dict[str, str]) -> None:
    """Raise ValueError for an interval in a sweep that takes every value in turn."""
    for override in overrides:
        if override.is_interval_sweep() and choices.get("hydra/sweeper") == "basic":
            raise ValueError(f"{override.input_line} names no single values: add sweeper=optuna, which tries some")


def check_preset(overrides: List[Override], chosen: str) -> None:
    """Raise ValueError for a preset that is not the one chosen: hydra passes over one that does not exist."""
    for override in overrides:
        if override.key_or_group == "preset" and str(override.value()) != chosen:
            raise ValueError(unknown_name("preset", str(override.value()), group_names("preset")))


def check_no_deletion(overrides: List[Override]) -> None:
    """Raise ValueError for ~key: a run has all its settings, and its folder says which."""
    for override in overrides:
        if override.is_delete():
            key = override.key_or_group
            raise ValueError(f"{override.input_line}: settings cannot be deleted; without {key}=... it has its default")


def first_point(override: Override, several: bool) -> str:
    """The override itself, or that of a sweep's (seed=1,2,3) first value. Raises ValueError for a sweep without -m."""
    line = override.input_line or ""
    if not override.is_sweep_override():
        return line
    key, _, value = line.partition("=")
    if not several:
        raise ValueError(
            f"{line} has several values: add -m for a run with each, or quote it if it is one value: "
            f"\"{key}='{value}'\""
        )
    if override.is_interval_sweep():
        return f"{key}={first_in(override)}"
    values = list(islice(override.sweep_string_iterator(), 1))
    if not values:
        raise ValueError(f"{line} has no value")
    return f"{key}={values[0]}"


def first_in(override: Override) -> float:
    """The lower end of a sweep over an interval."""
    interval = cast(IntervalSweep, override.value())
    return cast(float, interval.start)


def explain(error: BaseException, words: List[str]) -> str:
    """Hydra's and OmegaConf's errors as one line, with the nearest name where one was misspelled."""
    causes = _messages(error)
    text = "\n".join(causes)
    plugin = re.search(r"Could not find '(hydra/\w+)/(\w+)'\s+Available options in '[^']+':((?:\n\t\w+)*)", text)
    if plugin:
        return unknown_name(plugin[1], plugin[2], plugin[3].split())
    missing = re.search(r"Could not find '(?P<group>\w+)/(?P<name>[^']+)'", text)
    if missing:
        return unknown_name(missing["group"], missing["name"], group_names(missing["group"]))
    full_key = re.search(r"full_key: (\S+)", text)
    key = re.search(r"Key '(?P<key>[^']+)' (?:is )?not in '?(?P<cls>\w+)", text)
    inside = re.search(r"In 'experiment/(?P<name>[^']+)': ConfigKeyError", text)
    if inside and full_key:
        return f"experiment={inside['name']} sets {full_key[1]}, which the chosen task and algorithm do not have"
    if key:
        given = full_key[1] if full_key else key["key"]
        return unknown_name("key", given, known_keys(words, given))
    if "You must specify 'task'" in text:
        return "give a task, such as task=ShadowHandOver; possible: " + list_names(group_names("task"))
    lines = [part.strip() for part in causes[-1].split("\n") if part.strip() and "https:" not in part]
    if "override" in lines[0] or "alternative" in lines[0]:
        return f"cannot read {' '.join(words)} ({'; '.join(lines)}); give key=value"
    return f"{full_key[1]}: {lines[0]}" if full_key else lines[0]


def _messages(error: BaseException) -> List[str]:
    """Messages of the error and of its causes, the first cause last."""
    messages = [str(error)]
    while error.__cause__ is not None:
        error = error.__cause__
        messages.append(str(error))
    return messages


def unknown_name(kind: str, given: str, possible: List[str]) -> str:
    """Message such as "task Shadowhandover is unknown; did you mean ShadowHandOver? possible: ..."."""
    # The prefix of all names, such as "algo.", tells nothing about how close one is.
    prefix = len(commonprefix([given, *possible]).rpartition(".")[0])
    by_lower_case = {name[prefix:].lower(): name for name in possible}
    close = difflib.get_close_matches(given[prefix:].lower(), list(by_lower_case), 1)
    if close:
        nearest = by_lower_case[close[0]]
        return f"{kind} {given} is unknown; did you mean {nearest}? possible: {list_names(possible, nearest)}"
    return f"{kind} {given} is unknown; possible: {list_names(possible, given)}"


def list_names(possible: List[str], near: str = "") -> str:
    """The names in the folders that lead to `near`; other folders are given as folder/... and their number of names."""
    counts = Counter(first_step_away(name, near) for name in possible)
    return ", ".join(name if name in possible else f"{name}/... ({count})" for name, count in counts.items())


def first_step_away(name: str, near: str) -> str:
    """The part of folder/folder/name up to the first folder that does not lead to `near`."""
    parts = name.split("/")
    common = len(commonprefix([parts, near.split("/")]))
    return "/".join(parts[: common + 1])


def known_keys(words: List[str], given: str) -> List[str]:
    """The keys beside a misspelled one."""
    parent = given.rpartition(".")[0]
    groups = r"(task|algo|experiment|preset|launcher|sweeper|hydra/launcher|hydra/sweeper)=[A-Za-z]"
    choices = [word for word in words if re.match(groups, word)]
    running = GlobalHydra.instance().hydra  # of a sweep, if one runs
    GlobalHydra.instance().clear()
    try:
        with initialize_config_module(CONFIG, version_base="1.3"):
            node = compose("config", choices, return_hydra_config=given.startswith("hydra."))
    finally:
        GlobalHydra.instance().hydra = running
    if parent:
        node = OmegaConf.select(node, parent)
    keys = [str(key) for key in node or {}]
    return [f"{parent}.{key}" if parent else key for key in keys]
