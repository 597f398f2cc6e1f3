"""Tasks and algorithms by name: their default settings, settings from saved values, tasks of external packages."""

from dataclasses import replace
from importlib import import_module
from typing import Any, Dict, Iterable, cast

from omegaconf import OmegaConf

from harl_isaac.tasks import FAMILIES, TASKS


def import_object(path: str) -> Any:
    """Import the object that "package.module:name" names."""
    module, name = path.split(":")
    return getattr(import_module(module), name)


def default_settings(registry: Dict[str, str], name: str) -> Any:
    """Default settings (TaskCfg or AlgoCfg) of the task or algorithm `name`, which they hold as their `name`."""
    return replace(import_object(registry[name])(), name=name)


def build_settings(registry: Dict[str, str], values: Dict[str, Any]) -> Any:
    """Settings of the task or algorithm `values["name"]`, with these values in place of its defaults."""
    schema = OmegaConf.structured(default_settings(registry, values["name"]))
    return OmegaConf.to_object(OmegaConf.merge(schema, values))


def with_new_defaults(registry: Dict[str, str], values: Dict[str, Any]) -> Dict[str, Any]:
    """A run's saved settings; fill in defaults for settings added since the run was saved."""
    return _filled(plain_defaults(registry, values["name"]), values)


def plain_defaults(registry: Dict[str, str], name: str) -> Dict[str, Any]:
    """Default settings of the task or algorithm `name` as nested dictionaries."""
    defaults = OmegaConf.to_container(OmegaConf.structured(default_settings(registry, name)))
    return cast(Dict[str, Any], defaults)


def _filled(defaults: Dict[str, Any], values: Dict[str, Any]) -> Dict[str, Any]:
    """Nested dictionaries `values`, with `defaults` where they have no key."""
    result = {**defaults, **values}
    for key, value in result.items():
        if isinstance(value, dict) and isinstance(defaults.get(key), dict):
            result[key] = _filled(defaults[key], value)
    return result


def register_external_tasks(names: Iterable[str]) -> None:
    """Register names of external task families; they are validated when the environment is built."""
    for name in names:
        family, _, task = name.partition("/")
        if task and family in FAMILIES:
            TASKS.setdefault(name, FAMILIES[family])
