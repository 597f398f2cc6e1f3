"""The documentation's page of settings, read from the dataclasses and the comments behind their fields."""

import inspect
import re
from dataclasses import fields, is_dataclass
from typing import Any, Dict, Iterator, List

from harl_isaac.algos import ALGOS
from harl_isaac.config import RunCfg
from harl_isaac.registry import import_object
from harl_isaac.tasks import TASKS

INTRODUCTION = """# Settings

Every key of the command line with its default, as `python train.py task=... algo=... --cfg job` shows them for one
task and algorithm. `key=value` sets one, and a misspelled key is refused by name.
"""
EXTERNAL = ("isaacgym/", "isaaclab/", "smac", "football/", "smax/")  # each family's tasks have the same settings


def page() -> Iterator[str]:
    """Lines of the page: the run's own keys, then every algorithm's and every task's."""
    yield INTRODUCTION
    yield from section("Run", "", RunCfg)
    for title, prefix, registry in (("Algorithms", "algo.", ALGOS), ("Tasks", "task.", TASKS)):
        yield f"## {title}\n"
        for name in sorted(registry):
            if not name.startswith(EXTERNAL):
                yield from section(name, prefix, import_object(registry[name]), level=3)


def section(title: str, prefix: str, cfg: type, level: int = 2) -> Iterator[str]:
    """A heading, the first sentence of the dataclass, and a table of its keys."""
    yield "#" * level + f" {title}\n"
    if prefix:
        yield (inspect.getdoc(cfg) or "").split("\n")[0] + "\n"
    yield "| key | default | meaning |"
    yield "|---|---|---|"
    yield from rows(prefix, cfg)
    yield ""


def rows(prefix: str, cfg: type) -> Iterator[str]:
    """A table row for each field; fields that are dataclasses themselves are entered."""
    meanings = comments(cfg)
    default = cfg()
    for field in fields(cfg):
        value = getattr(default, field.name)
        if field.name == "name" or (not prefix and field.name in ("task", "algo")):
            continue
        if is_dataclass(value):
            yield from rows(f"{prefix}{field.name}.", type(value))
            continue
        yield f"| `{prefix}{field.name}` | `{shown(value)}` | {escaped(meanings.get(field.name, ''))} |"


def comments(cfg: type) -> Dict[str, str]:
    """The comment behind each field, of the class or of the nearest base that defines it."""
    found: Dict[str, str] = {}
    for base in reversed(cfg.__mro__):
        if is_dataclass(base):
            found.update(own_comments(inspect.getsource(base).split("\n")))
    return found


def own_comments(lines: List[str]) -> Dict[str, str]:
    """The comment at the end of each field's line, or at the end of the line that closes it."""
    found = {}
    name = None
    for line in lines:
        start = re.match(r"    (\w+): .*", line)
        name = start[1] if start else name if line.startswith(("        ", "    )")) else None
        comment = re.search(r"  # (.*)$", line)
        if name and comment:
            found.setdefault(name, comment[1])
    return found


def shown(value: Any) -> str:
    """A default as the command line takes it."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return "[" + ",".join(map(str, value)) + "]" if isinstance(value, (list, tuple)) else str(value)


def escaped(text: str) -> str:
    """Text for a cell of a table."""
    return text.replace("|", "\\|")
