"""The environment contract: what every source of environments provides, and what it is given.

An environment steps E copies of a game for A agents. Axes are always `[E, A, ...]`. Agents may differ in observation
width and in action space; nothing is padded here.

Importing this costs nothing: worker processes of CPU simulators need the spaces, and not torch.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Dict, Optional, Protocol, Sequence, Tuple

from harl_isaac.spaces import Box, Discrete, MultiDiscrete, Space, action_space, action_width, mask_width, obs_width

if TYPE_CHECKING:
    import torch
    from torch import Tensor

__all__ = [
    "Box",
    "Discrete",
    "EnvSpec",
    "MissingSimulator",
    "MultiAgentEnv",
    "MultiDiscrete",
    "SimulatorError",
    "Space",
    "Step",
    "action_width",
    "mask_width",
    "picture_fault",
]


class MissingSimulator(ValueError):
    """A task's simulator is not installed here; the message says what to install."""


class SimulatorError(RuntimeError):
    """A simulator died or raised in the middle of a run; the message holds its own account."""


class EnvironmentFault(SimulatorError):
    """An environment handed over what its spec excludes; the message says what, what was expected, and found."""


@dataclass(frozen=True)
class EnvSpec:
    """Sizes that never change during a run.

    Spaces may be given as gymnasium's: Box, Discrete and MultiDiscrete among `actions`, a flat Box among `obs_sizes`;
    the spec holds what they are here. Raises ValueError for spaces that policies cannot have, and where agents,
    observations and actions are not of one number.
    """

    num_envs: int  # E
    agents: Tuple[str, ...]  # A names
    obs_sizes: Tuple[int, ...]  # true width of each agent's observation
    actions: Tuple[Space, ...]  # each agent's action space
    state_size: int  # width of the critic's state
    max_episode_steps: int
    device: torch.device
    state_agents: int = 1  # K: 1 for a state shared by all, A for one each
    reward_agents: int = 1  # R: 1 for a team reward, A for one each
    metrics: Tuple[str, ...] = ()  # names in Step.metrics
    has_action_mask: bool = False
    has_alive: bool = False
    exclusive: bool = False  # a process holds one such environment, for training and evaluation

    def __post_init__(self) -> None:
        agents = tuple(map(str, self.agents))
        counts = (len(agents), len(self.obs_sizes), len(self.actions))
        if len(set(counts)) > 1:
            raise ValueError(
                "the spec has {} agents, {} obs_sizes and {} actions; give one of each for an agent".format(*counts)
            )
        plain = {
            "agents": agents,
            "obs_sizes": tuple(map(obs_width, self.obs_sizes, agents)),
            "actions": tuple(map(action_space, self.actions, agents)),
            "metrics": tuple(self.metrics),
        }
        for name, value in plain.items():
            object.__setattr__(self, name, value)  # the class is frozen

    @property
    def num_agents(self) -> int:
        """A, the number of agents."""
        return len(self.agents)


@dataclass
class Step:
    """The result of one step of E environments. Tensors are valid until the next `step`; copy what you keep.

    Where an episode ended, `obs` and `state` already belong to the next episode, and `next_obs`, `next_state` are the
    true last ones of the ended episode. Everywhere else the two are equal. `terminated` (the game is over, nothing
    more to gain) and `truncated` (a time limit, bootstrap from the successor) are never both true.
    """

    obs: Tuple[Tensor, ...]  # A x [E, O_i] what the agents act on next
    state: Tensor  # [E, K, S]
    reward: Tensor  # [E, R]
    terminated: Tensor  # [E] bool
    truncated: Tensor  # [E] bool
    next_obs: Tuple[Tensor, ...]  # A x [E, O_i]
    next_state: Tensor  # [E, K, S]
    metrics: Dict[str, Tensor] = field(default_factory=dict)  # name -> [E] float: the running episode's value so far,
    # of the ended episode where one ended
    action_mask: Optional[Tuple[Tensor, ...]] = None  # A x [E, mask_width_i] bool: allowed choices at `obs`
    alive: Optional[Tensor] = None  # [E, A] bool: which agents act at `obs`

    @classmethod
    def first(cls, spec: EnvSpec, obs: Tuple[Tensor, ...], state: Tensor) -> Step:
        """The Step that `reset` returns: zero reward and metrics, nothing done."""
        zero = state.new_zeros(spec.num_envs)
        nothing = zero.bool()
        return cls(
            obs,
            state,
            zero[:, None].expand(-1, spec.reward_agents),
            nothing,
            nothing,
            obs,
            state,
            dict.fromkeys(spec.metrics, zero),
        )

    @property
    def done(self) -> Tensor:
        """Whether the episode ended, either way: [E] bool."""
        return self.terminated | self.truncated

    def with_observations(
        self,
        obs: Sequence[Tensor],
        state: Tensor,
        alive: Optional[Tensor],
        action_mask: Optional[Sequence[Tensor]],
    ) -> Step:
        """This Step with saved values, moved to its device, in place of those that the next actions are chosen by."""
        device = self.state.device
        return replace(
            self,
            obs=tuple(value.to(device) for value in obs),
            state=state.to(device),
            alive=None if alive is None else alive.to(device),
            action_mask=None if action_mask is None else tuple(mask.to(device) for mask in action_mask),
        )


def picture_fault(picture: Any) -> str:
    """Say in words what keeps the result of a `render()` from being a picture [H, W, 3] uint8; "" for a picture."""
    shape = getattr(picture, "shape", None)
    if not shape:
        found = "None" if picture is None else f"a {type(picture).__name__}"
    else:
        kind = str(picture.dtype).replace("torch.", "")
        if kind == "uint8" and len(shape) == 3 and shape[2] == 3 and 0 not in shape:
            return ""
        found = f"{kind} of shape {tuple(shape)}"
    return f"render() returned {found}; expected a picture of shape (height, width, 3), uint8"


class MultiAgentEnv(Protocol):
    """E copies of a multi-agent game. `check_env` (harl_isaac/check_env.py) tests an implementation.

    An environment that can be drawn also has `render()`: the picture of the first of the E, [H, W, 3] uint8 of one size
    throughout (or of all, [E, H, W, 3]), as an array or a tensor; and, if it knows, `control_seconds`, how long a step
    takes [s]. `harl-play` makes one with E = 1.
    """

    spec: EnvSpec

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start E new episodes; with a seed, all that follows repeats. The Step's reward is zero, nothing ended."""

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Advance by one step; actions: A x [E, action_width_i], see Box, Discrete, MultiDiscrete.

        Raises SimulatorError where a simulator outside of this process failed.
        """

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly from here."""

    def load_state_dict(self, state: Dict[str, Any]) -> Optional[Step]:
        """Continue from a `state_dict` of an environment with the same spec.

        Returns None where it goes on exactly. A simulator that cannot be saved begins new episodes instead, and returns
        the Step that they begin with.
        """

    def close(self) -> None:
        """Release what the environment holds."""
