"""The package rl_games (https://github.com/Denys88/rl_games): its PPO as a learner, this library's tasks in its runs.

Importing this, or any module of it, raises MissingSimulator where that package is not installed.
"""

from importlib import import_module

from harl_isaac.env import MissingSimulator
from harl_isaac.hints import missing_extra


def check_installed() -> None:
    """Raise MissingSimulator, with the command to run, where the package rl_games cannot be imported."""
    try:
        import_module("rl_games.common.vecenv")
    except ImportError as error:
        raise MissingSimulator(missing_extra("rl_games", error)) from None


check_installed()  # here, and so before the modules of this folder import rl_games in whatever order
