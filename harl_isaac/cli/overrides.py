"""Checks of a command line: hydra's errors as one line in the user's terms, with the nearest name."""

import difflib
import re
from collections import Counter
from os.path import commonprefix
from typing import List

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harl_isaac.cli.groups import group_names
from harl_isaac.config import to_run

CONFIG = "harl_isaac.cfg"
FREE = (
    "task.kwargs.",
    "task.options.",
)  # keys of a simulator's own: hydra adds keys outside its schema only after a ++
VALUED_FLAGS = (
    "-c",
    "--cfg",
    "-p",
    "--package",
    "-i",
    "--info",
    "-cp",
    "--config-path",
    "-cn",
    "--config-name",
    "-cd",
    "--config-dir",
    "--experimental-rerun",
)


def overrides_in(words: List[str]) -> List[str]:
    """The command line without hydra's own options and their values."""
    pairs = zip(["", *words], words)
    return [word for previous, word in pairs if not word.startswith("-") and previous not in VALUED_FLAGS]


def with_free_keys(words: List[str]) -> List[str]:
    """The command line as hydra wants it, task.kwargs.N=3 as ++task.kwargs.N=3."""
    return ["++" + word if word.startswith(FREE) else word for word in words]


def check_command_line(words: List[str], several: bool = False) -> None:
    """Compose the configuration once to find mistakes; `several`: sweeps are allowed (-m).

    Raises ValueError with one line.
    """
    try:
        overrides = OverridesParser.create().parse_overrides(words)
        check_no_deletion(overrides)
        plain = [first_point(override, several) for override in overrides]
        with initialize_config_module(CONFIG, version_base="1.3"):
            to_run(compose("config", plain))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, words)) from None
    finally:
        GlobalHydra.instance().clear()


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
    return f"{key}={next(iter(override.sweep_string_iterator()))}"


def explain(error: BaseException, words: List[str]) -> str:
    """Hydra's and OmegaConf's errors as one line, with the nearest name where one was misspelled."""
    causes = _messages(error)
    text = "\n".join(causes)
    missing = re.search(r"Could not find '(?P<group>\w+)/(?P<name>[^']+)'", text)
    if missing:
        return unknown_name(missing["group"], missing["name"], group_names(missing["group"]))
    full_key = re.search(r"full_key: (\S+)", text)
    key = re.search(r"Key '(?P<key>[^']+)' (?:is )?not in '(?P<cls>\w+)'", text)
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
    choices = [word for word in words if re.match(r"(task|algo|experiment)=[A-Za-z]", word)]
    with initialize_config_module(CONFIG, version_base="1.3"):
        node = compose("config", choices)
    if parent:
        node = OmegaConf.select(node, parent)
    keys = [str(key) for key in node or {}]
    return [f"{parent}.{key}" if parent else key for key in keys]
