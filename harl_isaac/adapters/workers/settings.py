"""Settings that all tasks on CPU simulators share: how their games are spread over processes, and what a crash means."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Dict, Tuple

from harl_isaac.settings import TaskCfg, check_choices

if TYPE_CHECKING:
    import torch

    from harl_isaac.adapters.workers.env import WorkerEnv

ON_CRASH = ("stop", "restart")


@dataclass
class SimulatorCfg(TaskCfg):
    """A task whose environments are Games (game.py), played by worker processes."""

    name: str = ""
    workers: int = 0  # processes, at most one for each environment; 0: one for each usable core
    on_crash: str = "stop"  # the run, with a checkpoint; or restart the game, its episode ending as truncated
    timeout: float = 0.0  # [s] for one step of a worker's environments before it counts as crashed, 0: any time

    def game(self) -> Tuple[str, Dict[str, Any]]:
        """Where the Game is, as package.module:Class, and what it is made with. Raises ValueError."""
        raise NotImplementedError

    def make(self, num_envs: int, device: "torch.device", sim: str) -> "WorkerEnv":
        if self.workers < 0 or self.timeout < 0:
            raise ValueError(
                f"task.workers={self.workers}, task.timeout={self.timeout:g} must not be negative; 0: a process "
                "for each core, no limit"
            )
        check_choices("task", self, (("on_crash", ON_CRASH),))
        from harl_isaac.adapters.workers.env import (
            WorkerEnv,  # here: the games beside these settings must do without torch
        )

        path, settings = self.game()
        return WorkerEnv(path, settings, num_envs, device, self.workers, self.on_crash, self.timeout)
