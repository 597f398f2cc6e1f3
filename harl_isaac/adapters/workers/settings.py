"""Settings that all tasks on CPU simulators share: how games are spread over processes, and what a crash does."""

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Tuple

from harl_isaac.settings import INFINITY, TaskCfg, check_choices, check_ranges

if TYPE_CHECKING:
    import torch

    from harl_isaac.adapters.workers.env import WorkerEnv

ON_CRASH = ("stop", "restart")


@dataclass
class SimulatorCfg(TaskCfg):
    """Settings of a task whose environments are Games (game.py), played by worker processes."""

    workers: int = 0  # processes, at most one for each environment; 0: one for each usable core
    on_crash: str = "stop"  # the run, with a checkpoint; or restart the game, its episode ending as truncated
    timeout: float = 0.0  # [s] for one step of a worker's environments before it counts as crashed, 0: any time

    @abstractmethod
    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Return the Game's class as package.module:Class, and its arguments. Raises ValueError, MissingSimulator."""

    def make(self, num_envs: int, device: "torch.device", sim: str) -> "WorkerEnv":
        """Start worker processes for `num_envs` environments. Raises ValueError, MissingSimulator, SimulatorError."""
        check_ranges(self, [("workers", 0, INFINITY), ("timeout", 0, INFINITY)], "task")
        check_choices("task", self, (("on_crash", ON_CRASH),))
        # here, because worker processes import games beside their settings and must do without torch
        from harl_isaac.adapters.workers.env import WorkerEnv

        path, settings = self.game()
        return WorkerEnv(path, settings, num_envs, device, self.workers, self.on_crash, self.timeout)
