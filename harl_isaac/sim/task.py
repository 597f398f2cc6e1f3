"""One step of a simulated task, in the order in which things happen. A task fills in the methods at the bottom."""

from contextlib import contextmanager
from typing import Any, Dict, Iterator, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, Step
from harl_isaac.sim.physics import Physics

DIVERGED = 1e6  # [m, rad, m/s, rad/s together] beyond this, or not finite, an environment has blown up


@contextmanager
def one_thread(device: torch.device) -> Iterator[None]:
    """On the CPU, torch's operations here are too small to be worth waking other threads (the physics has its own)."""
    threads = torch.get_num_threads()
    if device.type == "cpu":
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


METRICS = ("success", "diverged", "overflow")  # the last: contacts were left out because the engine ran out of room


class MujocoTask:
    """Base of the tasks that run on a `Physics`. Implements `harl_isaac.env.MultiAgentEnv`."""

    spec: EnvSpec

    def __init__(self, physics: Physics, spec: EnvSpec):
        self.physics, self.spec = physics, spec
        self.random = torch.Generator(device=spec.device)
        shape = (spec.num_envs,)
        self.progress = torch.zeros(shape, dtype=torch.int32, device=spec.device)  # [E] steps in this episode
        self.success = torch.zeros(shape, dtype=torch.bool, device=spec.device)  # [E] held at any step so far
        self.diverged_count = torch.zeros((), dtype=torch.int64, device=spec.device)  # since the start
        self._all = torch.ones(shape, dtype=torch.bool, device=spec.device)

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.random.manual_seed(seed)
        self._start_episodes(self._all)
        obs, state = self.observe()
        nothing = ~self._all
        return Step(obs, state, torch.zeros_like(self.success, dtype=torch.float32)[:, None], nothing, nothing, obs,
                    state, self._metrics(self.success, nothing))

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Act, simulate, observe, reward, end, reset, observe again where an episode began."""
        with one_thread(self.spec.device):
            return self._step(actions)

    def _step(self, actions: Tuple[Tensor, ...]) -> Step:
        self.act(torch.cat(actions, dim=-1))
        self.physics.step()
        self.progress += 1
        diverged = self._diverged()
        next_obs, next_state = self.observe()
        reward = torch.where(diverged, 0.0, self.reward())
        terminated = self.terminated() | diverged
        truncated = ~terminated & (self.progress >= self.spec.max_episode_steps)
        success = self.success | (self.succeeded() & ~diverged)
        done = terminated | truncated
        self.success.copy_(success)
        self._start_episodes(done)
        obs, state = self._observe_where(done, next_obs, next_state)
        return Step(obs, state, reward[:, None], terminated, truncated, next_obs, next_state,
                    self._metrics(success, diverged))

    def state_dict(self) -> Dict[str, Any]:
        return {"physics": self.physics.state_dict(), "random": self.random.get_state(),
                "buffers": {name: value.clone() for name, value in self._buffers().items()}}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.physics.load_state_dict(state["physics"])
        self.random.set_state(state["random"])
        for name, value in self._buffers().items():
            value.copy_(state["buffers"][name])

    def close(self) -> None:
        """Nothing to release: the engine goes with the object."""

    def uniform(self, low: float, high: float, size: int) -> Tensor:
        """[E, size] numbers in [low, high) from the task's own generator."""
        draw = torch.rand((self.spec.num_envs, size), generator=self.random, device=self.spec.device)
        return low + (high - low) * draw

    def _buffers(self) -> Dict[str, Tensor]:
        return {"progress": self.progress, "success": self.success, "diverged": self.diverged_count, **self.buffers()}

    def _metrics(self, success: Tensor, diverged: Tensor) -> Dict[str, Tensor]:
        return {"success": success.float(), "diverged": diverged.float(),
                "overflow": (self.physics.overflow != 0).float()}

    def _diverged(self) -> Tensor:
        """[E] bool. Their values are made finite so that nothing of them reaches a neighbour through the batch."""
        physics = self.physics
        size = physics.qpos.square().sum(1) + physics.qvel.square().sum(1)
        diverged = ~(size < DIVERGED ** 2)  # true for NaN as well
        self.diverged_count += diverged.sum()
        for value in (physics.qpos, physics.qvel, physics.sensors):
            value.masked_fill_(diverged[:, None], 0.0)
        return diverged

    def _start_episodes(self, mask: Tensor) -> None:
        self.reset_rows(mask)
        self.physics.forward(mask)
        self.progress.masked_fill_(mask, 0)
        self.success.masked_fill_(mask, False)

    def _observe_where(self, mask: Tensor, obs: Tuple[Tensor, ...], state: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor]:
        new_obs, new_state = self.observe()
        obs = tuple(torch.where(mask[:, None], new, old) for new, old in zip(new_obs, obs))
        return obs, torch.where(mask[:, None, None], new_state, state)

    # What a task says, in this order.

    def buffers(self) -> Dict[str, Tensor]:
        """Tensors [E, ...] of the task's own that a checkpoint must hold."""
        return {}

    def act(self, action: Tensor) -> None:
        """Write controls from the agents' actions in a row: [E, sum of widths]."""
        raise NotImplementedError

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, O_i] and the critic's state [E, K, S], as new tensors."""
        raise NotImplementedError

    def reward(self) -> Tensor:
        """[E]"""
        raise NotImplementedError

    def terminated(self) -> Tensor:
        """[E] bool: the episode is lost or won, nothing more can be gained."""
        raise NotImplementedError

    def succeeded(self) -> Tensor:
        """[E] bool: the task's success test holds now."""
        raise NotImplementedError

    def reset_rows(self, mask: Tensor) -> None:
        """Write a new episode's first state where mask [E] is true, and only there."""
        raise NotImplementedError
