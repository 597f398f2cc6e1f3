"""Base of the small games: the random numbers, the step counter, reset, saving and loading."""

from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, Step
from harl_isaac.memory import check_envs_fit


class TensorGame:
    """A game whose environments are rows of a few tensors. Implements `harl_isaac.env.MultiAgentEnv`.

    A game passes its spec on and defines the four methods at the bottom.
    """

    stochastic = True  # the game draws random numbers, so that a checkpoint holds the generator's state

    def __init__(self, spec: EnvSpec):
        check_envs_fit(spec)
        self.spec = spec
        self.random = torch.Generator(device=spec.device)
        self.count = torch.zeros(spec.num_envs, dtype=torch.long, device=spec.device)  # [E] steps in this episode

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start E new episodes; a seed repeats everything that follows."""
        if seed is not None:
            self.random.manual_seed(seed)
        self.count.zero_()
        self.start_episodes()
        return Step.first(self.spec, *self.observe())

    def state_dict(self) -> Dict[str, Any]:
        """Copies of the buffers and, for a stochastic game, the generator's state."""
        state: Dict[str, Any] = {name: value.clone() for name, value in self.buffers().items()}
        if self.stochastic:
            state["random"] = self.random.get_state()
        return state

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        for name, value in self.buffers().items():
            value.copy_(state[name])
        if self.stochastic:
            self.random.set_state(state["random"])

    def close(self) -> None:
        """Nothing to release."""

    # The rules of a game.

    def buffers(self) -> Dict[str, Tensor]:
        """Tensors [E, ...] that a checkpoint must hold."""
        raise NotImplementedError

    def start_episodes(self) -> None:
        """Write the first state of an episode in every environment; `count` is zero already."""
        raise NotImplementedError

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, O_i] and the critic's state [E, 1, S]."""
        raise NotImplementedError

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Apply the rules to actions A x [E, W_i] and start new episodes where one ended."""
        raise NotImplementedError
