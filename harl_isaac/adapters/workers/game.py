"""`Game`: one environment of a simulator that runs on the CPU and plays one environment at a time.

An adapter of such a simulator is a Game; `WorkerEnv` (env.py) makes a batch of them over shared memory. Games are made
in the worker processes, by name, so that nothing of a simulator needs to be pickled.
"""

from dataclasses import dataclass
from typing import Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from harl_isaac.env import Space


@dataclass(frozen=True)
class GameSpec:
    """Sizes of one environment: the fields of `EnvSpec` without number of environments and device."""

    agents: Tuple[str, ...]  # A names
    obs_sizes: Tuple[int, ...]
    actions: Tuple[Space, ...]
    state_size: int
    max_episode_steps: int
    state_agents: int = 1  # K
    reward_agents: int = 1  # R
    metrics: Tuple[str, ...] = ()
    has_action_mask: bool = False
    has_alive: bool = False


@dataclass
class GameView:
    """Observations, state and masks of one environment: arrays in the shared memory that a game writes in place.

    They are zero before a game's first write and then hold what was written last.
    """

    obs: List[np.ndarray]  # A x [O_i] float32
    state: np.ndarray  # [K, S] float32
    action_mask: Optional[List[np.ndarray]]  # A x [mask_width_i] bool, None without has_action_mask
    alive: Optional[np.ndarray]  # [A] bool, None without has_alive


@dataclass
class Outcome:
    """Result of a step without the observations, which `Game.look` writes."""

    reward: Sequence[float]  # [R]
    terminated: bool
    truncated: bool  # never both
    metrics: Dict[str, float]  # the spec's names -> the running episode's values so far


class Game(Protocol):
    """One environment. After an episode's end `look` still writes its true last observations, until `reset`.

    Whatever a method raises ends the run, and its traceback is shown to the user; with task.on_crash=restart it ends
    the game instead, and a new one is made. A MissingSimulator or ValueError of the constructor is shown as it is.
    """

    spec: GameSpec

    def reset(self, seed: int) -> None:
        """Begin an episode; equal seeds [0, 2^31) begin and go on equally."""

    def step(self, actions: List[np.ndarray]) -> Outcome:
        """Advance by one step; actions: A x [action_width_i], float32 within a Box's bounds, int64 otherwise."""

    def look(self, view: GameView) -> None:
        """Write the current observations, state and masks into `view`."""

    def save(self) -> Optional[bytes]:
        """Everything needed to go on exactly, or None where the simulator cannot be saved."""

    def restore(self, saved: bytes) -> None:
        """Go on from a `save` of a game with the same settings."""

    def close(self) -> None:
        """Release what the game holds, its own processes above all."""
