"""Packages of the extra `plot`, imported where they are needed."""

from importlib import import_module
from typing import Any

from harl_isaac.hints import missing_extra


def pyplot() -> Any:
    """matplotlib.pyplot, which draws into files. Raises ValueError."""
    needed("matplotlib").use("Agg")
    return import_module("matplotlib.pyplot")


def needed(module: str) -> Any:
    """Import a module of the extra. Raises ValueError where its package is not installed."""
    try:
        return import_module(module)
    except ImportError:
        raise ValueError(missing_extra(module)) from None
