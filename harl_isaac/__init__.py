"""Heterogeneous-agent reinforcement learning on batched simulation.

    import harl_isaac

    run = harl_isaac.train("SumGame", "happo", {"algo.hidden": [64]}, total_steps=20_000)
    policy = harl_isaac.load_policy(run.folder)

`train`, `load_policy`, `make`, `evaluate` (harl_isaac/api.py) are imported, and torch with them, when first used.
"""

from importlib import import_module
from typing import Any, List

__version__ = "0.1.0"
__all__ = ["Policy", "TrainedRun", "__version__", "evaluate", "load_policy", "make", "train"]


def __getattr__(name: str) -> Any:
    """A function of the Python interface."""
    if name in __all__:
        return getattr(import_module("harl_isaac.api"), name)
    raise AttributeError(f"module 'harl_isaac' has no attribute {name!r}")


def __dir__() -> List[str]:
    return sorted({*globals(), *__all__})
