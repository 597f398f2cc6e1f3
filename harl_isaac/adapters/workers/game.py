"""`Game`: one environment of a simulator that runs on the CPU and plays one environment at a time.

An adapter of such a simulator is a Game; `WorkerEnv` (env.py) makes a batch of them over shared memory. Games are made
in the worker processes, by name, so that nothing of a simulator needs to be pickled.
"""

from dataclasses import dataclass
from typing import Any, Dict, List, Optional, Protocol, Sequence, Tuple

import numpy as np

from harl_isaac.adapters.workers.messages import one_line
from harl_isaac.env import picture_fault
from harl_isaac.spaces import Space, action_space, obs_width

LARGEST = float(np.finfo(np.float32).max)


class GameFault(Exception):
    """A game handed over what its spec excludes; the message says who, what was expected and what was found."""


@dataclass(frozen=True)
class GameSpec:
    """Sizes of one environment: the fields of `EnvSpec` without number of environments and device.

    Spaces may be given as gymnasium's, as there.
    """

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
    control_seconds: float = 0.0  # [s] that a step stands for in videos, 0: not known

    def __post_init__(self) -> None:
        object.__setattr__(self, "obs_sizes", tuple(map(obs_width, self.obs_sizes, self.agents)))
        object.__setattr__(self, "actions", tuple(map(action_space, self.actions, self.agents)))


@dataclass
class GameView:
    """Observations, state and masks of one environment: arrays that a game writes in place.

    They are zero before a game's first write and then hold what was written last. What is not finite is refused.
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

    The process-wide generators (`random`, `numpy.random`, torch's if imported) are the game's own, and are seeded anew
    for each episode. Whatever a method raises ends the run, and its traceback is shown to the user; with
    task.on_crash=restart it ends the game instead, and a new one is made. A MissingSimulator or ValueError of the
    constructor is shown as it is.

    A game that can be drawn also has `render()`, which returns a picture [H, W, 3] uint8 of its present state.
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


def picture_of(game: Game) -> Any:
    """A game's picture [H, W, 3], or a text about why there is none."""
    render = getattr(game, "render", None)
    if render is None:
        return f"{type(game).__name__} has no render(): there is no picture of this task"
    try:
        picture = render()
    except GameFault as fault:
        return str(fault)
    except Exception as error:
        return f"render() raised {one_line(error)}"
    return picture_fault(picture) or np.asarray(picture)


def fill(out: np.ndarray, value: Any, name: str) -> None:
    """Write a value into an array of a GameView; `name` says whose. Raises GameFault unless it has as many numbers."""
    found = real_array(value, name)
    if found.shape == out.shape:
        out[...] = found
        return
    if found.size != out.size:
        raise GameFault(f"{name}: expected {out.size} numbers, got shape {found.shape}")
    out[...] = found.reshape(out.shape)


def real_array(value: Any, name: str) -> np.ndarray:
    """A value as an array. Raises GameFault unless it holds real numbers."""
    try:
        found = np.asarray(value)
    except ValueError:  # parts of different lengths
        found = np.array(None)
    if found.dtype.kind not in "biuf":
        kind = type(value).__name__ if found.dtype.kind == "O" else found.dtype
        raise GameFault(f"{name}: expected real numbers, got {kind}")
    return found


def check_finite(row: np.ndarray, name: str) -> None:
    """Raise GameFault where not all numbers of an array are finite."""
    bad = ~np.isfinite(row)
    if bad.any():
        places = np.flatnonzero(bad)
        raise GameFault(
            f"{name}: expected finite numbers, got {row.flat[places[0]]} at {places[0]} of {row.size}"
            f"{f' and {len(places) - 1} more' if len(places) > 1 else ''}"
        )


def check_view(view: GameView, agents: Sequence[str]) -> None:
    """Raise GameFault where observations or state are not finite."""
    for agent, obs in zip(agents, view.obs):
        check_finite(obs, f"agent {agent}: observation")
    check_finite(view.state, "state")


def check_outcome(outcome: Any, spec: GameSpec) -> None:
    """Raise GameFault for what is no Outcome of a game with this spec."""
    if not isinstance(outcome, Outcome):
        raise GameFault(f"step: expected an Outcome, got {type(outcome).__name__}")
    check_reward(outcome.reward, spec.reward_agents)
    if outcome.terminated and outcome.truncated:
        raise GameFault("an episode ended as terminated and as truncated at once, expected one of them")
    if len(outcome.metrics) != len(spec.metrics) or not all(name in outcome.metrics for name in spec.metrics):
        expected = ", ".join(spec.metrics) or "none"
        raise GameFault(f"metrics: expected {expected}, got {', '.join(outcome.metrics) or 'none'}")


def check_reward(reward: Any, count: int) -> None:
    """Raise GameFault for anything but `count` finite numbers."""
    plain = isinstance(reward, (list, tuple)) and len(reward) == count
    if plain and all(isinstance(number, float) and abs(number) < LARGEST for number in reward):
        return  # as it nearly always is: looked at in a fraction of the time
    found = real_array(reward, "reward")
    if found.size != count:
        raise GameFault(f"reward: expected {count} numbers, got shape {found.shape}")
    with np.errstate(over="ignore"):
        check_finite(found.astype(np.float32), "reward")


def check_spec(spec: Any) -> None:
    """Raise GameFault for a spec whose parts do not fit together."""
    if not isinstance(spec, GameSpec):
        raise GameFault(f"spec: expected a GameSpec, got {type(spec).__name__}")
    agents = len(spec.agents)
    if agents == 0 or len(set(spec.agents)) != agents:
        raise GameFault(f"spec: expected agents with different names, got {', '.join(spec.agents) or 'none'}")
    for name, sizes in (("obs_sizes", spec.obs_sizes), ("actions", spec.actions)):
        if len(sizes) != agents:
            raise GameFault(f"spec: expected {name} of {agents} agents, got {len(sizes)}")
    if spec.state_agents not in (1, agents) or spec.reward_agents not in (1, agents):
        raise GameFault(
            f"spec: expected state and reward of 1 or {agents} agents, got {spec.state_agents}, {spec.reward_agents}"
        )
