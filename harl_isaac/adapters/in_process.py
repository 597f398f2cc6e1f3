"""Process-wide state for simulators that must run in-process: one instance, working folder, argv, random numbers."""

import os
import sys
from abc import ABC, abstractmethod
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Step

RngState = Tuple[Tensor, Optional[Tensor]]  # torch's CPU generator, and that of the CUDA device if there is one

_running: List[str] = []  # simulations of this process; none can be taken out of it again


def claim_process(name: str) -> None:
    """Make `name` the one simulation of this process. Raises ValueError where there is one already."""
    if _running:
        raise ValueError(
            f"{name}: this process has a simulation already ({_running[0]}), and its simulator allows one; "
            "start a process of its own for each run (no -m, no second environment)"
        )
    _running.append(name)


def run_seed() -> int:
    """The seed of the run [0, 2^31), as the trainer has given it to torch before it builds an environment."""
    return torch.initial_seed() % 2**31


@contextmanager
def cwd_and_argv(folder: Optional[Path], words: Sequence[str]) -> Iterator[None]:
    """Set the working folder (None: unchanged) and argv after the program's name; both are restored on exit."""
    cwd = os.getcwd()
    argv = sys.argv
    sys.argv = [*argv[:1], *words]
    os.chdir(cwd if folder is None else folder)
    try:
        yield
    finally:
        os.chdir(cwd)
        sys.argv = argv


class IsolatedRng:
    """Random numbers of a simulator that draws from torch's global generators: a context that exchanges their state.

    Evaluating on the simulator, or seeding it, then changes nothing that the policies draw. Nothing waits for the
    device.
    """

    device: torch.device
    state: RngState  # of the simulator, while the context is not entered

    def __init__(self, device: torch.device):
        self.device = device
        self.state = self._global_state()
        self._outer = self.state  # of everybody else, while the context is entered

    def seed(self, seed: int) -> None:
        """Restart the simulator's random numbers from a seed."""
        with self:
            torch.manual_seed(seed)

    def __enter__(self) -> None:
        self._outer = self._global_state()
        self._set_global_state(self.state)

    def __exit__(self, *error: object) -> None:
        self.state = self._global_state()
        self._set_global_state(self._outer)

    def _global_state(self) -> RngState:
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return torch.get_rng_state(), cuda

    def _set_global_state(self, state: RngState) -> None:
        cpu, cuda = state
        torch.set_rng_state(cpu)
        if cuda is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(cuda, self.device)


class NotCheckpointable(ABC):
    """An environment whose simulator cannot be saved: resuming restores its random numbers and begins new episodes."""

    rng: IsolatedRng

    @abstractmethod
    def reset(self, seed: Optional[int] = None) -> Step:
        """Start new episodes in every environment, see `MultiAgentEnv.reset`."""

    def state_dict(self) -> Dict[str, Any]:
        """The state of the random numbers."""
        return {"random": list(self.rng.state)}

    def load_state_dict(self, state: Dict[str, Any]) -> Step:
        """Begin new episodes with the saved random numbers; returns the Step that they begin with."""
        cpu, cuda = state["random"]
        self.rng.state = (cpu, cuda)
        return self.reset()
