"""Tasks and algorithms by name: their settings, as defaults, from saved values, and those of other installs."""

from dataclasses import replace
from importlib import import_module
from typing import Any, Dict, Iterable

from omegaconf import OmegaConf

from harl_isaac.algos import ALGOS  # noqa: F401
from harl_isaac.tasks import FAMILIES, TASKS


def import_object(path: str) -> Any:
    """The thing that "package.module:name" names."""
    module, name = path.split(":")
    return getattr(import_module(module), name)


def default_settings(registry: Dict[str, str], name: str) -> Any:
    """The default settings of a task or algorithm, which know the name that they were chosen by."""
    return replace(import_object(registry[name])(), name=name)


def build_settings(registry: Dict[str, str], values: Dict[str, Any]) -> Any:
    """The settings of the task or algorithm `values["name"]` with these values in place of its defaults."""
    schema = OmegaConf.structured(default_settings(registry, values["name"]))
    return OmegaConf.to_object(OmegaConf.merge(schema, values))


def with_new_defaults(registry: Dict[str, str], values: Dict[str, Any]) -> Dict[str, Any]:
    """A run's saved settings, and the defaults of those that came later: what there was no choice of is the default."""
    return {**OmegaConf.to_container(OmegaConf.structured(default_settings(registry, values["name"]))), **values}


def register_external_tasks(names: Iterable[str]) -> None:
    """Any name in a family of another install's tasks becomes a task; whether there is one shows when it is made."""
    for name in names:
        family, _, task = name.partition("/")
        if task and family in FAMILIES:
            TASKS.setdefault(name, FAMILIES[family])
