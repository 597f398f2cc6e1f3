"""What a simulator takes for granted about the process that it lives in: being the only one there, the folder, the command
line, the random numbers."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Dict, Iterator, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Step

_running: List[str] = []  # simulations of this process; none can be taken out of it again


def claim(name: str) -> None:
    """The process's one simulation will be this one. Raises ValueError where there is one already."""
    if _running:
        raise ValueError(
            f"{name}: this process has a simulation already ({_running[0]}), and its simulator allows one; start a process of its "
            "own for each run (no -m, no second environment)"
        )
    _running.append(name)


@contextmanager
def surroundings(folder: Optional[Path], words: Sequence[str]) -> Iterator[None]:
    """The working folder (None: as it is) and the command line behind the program's name, for as long as it lasts."""
    before = os.getcwd()
    argv = sys.argv
    sys.argv = [*argv[:1], *words]
    os.chdir(before if folder is None else folder)
    try:
        yield
    finally:
        os.chdir(before)
        sys.argv = argv


class OwnRandom:
    """Random numbers of a simulator's own, though it draws torch's global ones: those are exchanged while it runs.

    So evaluating on it, or seeding it, changes nothing of what the policies draw. Nothing waits for the device.
    """

    def __init__(self, device: torch.device):
        self.device = device
        self.state = self._now()

    def seed(self, seed: int) -> None:
        """From here on the numbers of this seed."""
        with self:
            torch.manual_seed(seed)

    def __enter__(self) -> None:
        self._others = self._now()
        self._set(self.state)

    def __exit__(self, *error) -> None:
        self.state = self._now()
        self._set(self._others)

    def _now(self) -> Tuple[Tensor, Optional[Tensor]]:
        cuda = torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None
        return torch.get_rng_state(), cuda

    def _set(self, state: Tuple[Tensor, Optional[Tensor]]) -> None:
        torch.set_rng_state(state[0])
        if state[1] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state[1], self.device)


class Unsavable:
    """An environment whose simulator cannot be saved: its random numbers are, and resuming begins new episodes."""

    random: OwnRandom

    def state_dict(self) -> Dict[str, Any]:
        """The random numbers alone."""
        return {"random": list(self.random.state)}

    def load_state_dict(self, state: Dict[str, Any]) -> Step:
        """New episodes, with the random numbers of that time."""
        self.random.state = tuple(state["random"])
        return self.reset()
