"""What is wrong with a command line, in one line: hydra's errors in the user's terms, with the nearest name."""

import difflib
import re
from collections import Counter
from os.path import commonprefix
from pathlib import Path
from typing import List

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from harl_isaac import cfg
from harl_isaac.algos import ALGOS
from harl_isaac.config import to_run
from harl_isaac.tasks import TASKS

CONFIG = "harl_isaac.cfg"
FREE = (
    "task.kwargs.",
    "task.options.",
)  # whatever a simulator takes: hydra adds keys that it does not know only after a ++
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
    return [
        word for before, word in zip([""] + words, words) if not word.startswith("-") and before not in VALUED_FLAGS
    ]


def with_free_keys(words: List[str]) -> List[str]:
    """The command line as hydra wants it, task.kwargs.N=3 as ++task.kwargs.N=3."""
    return ["++" + word if word.startswith(FREE) else word for word in words]


def check_command_line(words: List[str], several: bool = False) -> None:
    """Compose once, to say in one line what is wrong with the command; `several` runs (-m) may be asked for.

    Raises ValueError.
    """
    try:
        plain = [first_point(override, several) for override in OverridesParser.create().parse_overrides(words)]
        with initialize_config_module(CONFIG, version_base="1.3"):
            to_run(compose("config", plain))
    except (HydraException, OmegaConfBaseException) as error:
        raise ValueError(explain(error, words)) from None
    finally:
        GlobalHydra.instance().clear()


def first_point(override, several: bool) -> str:
    """An override as it is, a sweep's (seed=1,2,3) by its first value. Raises ValueError for a sweep without -m."""
    if not override.is_sweep_override():
        return override.input_line
    if not several:
        key, _, value = override.input_line.partition("=")
        raise ValueError(
            f"{override.input_line} has several values: add -m for a run with each, or quote it if it is one value: \"{key}='{value}'\""
        )
    return "{}={}".format(override.input_line.partition("=")[0], next(iter(override.sweep_string_iterator())))


def explain(error: Exception, words: List[str]) -> str:
    """Hydra's and OmegaConf's errors as one line, with the nearest name where one was misspelled."""
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
        return "give a task, such as task=ShadowHandOver; possible: " + listed(registry("task"))
    lines = [part.strip() for part in causes[-1].split("\n") if part.strip() and "https:" not in part]
    if "override" in lines[0] or "alternative" in lines[0]:
        return "cannot read {} ({}); give key=value".format(" ".join(words), "; ".join(lines))
    where = re.search(r"full_key: (\S+)", text)
    return (where[1] + ": " if where else "") + lines[0]


def unknown(kind: str, given: str, possible: List[str]) -> str:
    """task Shadowhandover is unknown; did you mean ShadowHandOver? possible: ..."""
    alike = len(
        commonprefix([given, *possible]).rpartition(".")[0]
    )  # algo. of them all says nothing about their likeness
    folded = {name[alike:].lower(): name for name in possible}
    near = [folded[name] for name in difflib.get_close_matches(given[alike:].lower(), list(folded), 1)]
    hint = f"; did you mean {near[0]}?" if near else ";"
    return f"{kind} {given} is unknown{hint} possible: {listed(possible, (near or [given])[0])}"


def listed(possible: List[str], near: str = "") -> str:
    """The names on the way to `near`; what lies in other folders as folder/... and how much it is."""
    rooms = Counter(seen_from(name, near) for name in possible)
    return ", ".join(room if room in possible else f"{room}/... ({count})" for room, count in rooms.items())


def seen_from(name: str, near: str) -> str:
    """The part of folder/folder/name up to the first folder that is not one of `near`'s."""
    parts = name.split("/")
    return "/".join(parts[: len(commonprefix([parts, near.split("/")])) + 1])


def registry(group: str) -> List[str]:
    """Names that a group knows."""
    if group == "experiment":
        folder = Path(cfg.__file__).parent / "experiment"
        return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    return sorted({"task": TASKS, "algo": ALGOS}.get(group, {}))


def known_keys(words: List[str], given: str) -> List[str]:
    """The keys beside a misspelled one."""
    parent = given.rpartition(".")[0]
    choices = [word for word in words if re.match(r"(task|algo|experiment)=[A-Za-z]", word)]
    with initialize_config_module(CONFIG, version_base="1.3"):
        node = compose("config", choices)
    if parent:
        node = OmegaConf.select(node, parent)
    return [f"{parent}.{key}" if parent else str(key) for key in node or {}]
