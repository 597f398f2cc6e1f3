"""One step of a simulated task, in the order in which things happen. A task fills in the methods at the bottom."""

from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, Step
from harl_isaac.runtime import one_thread
from harl_isaac.sim.physics import Physics

DIVERGED = 1e6  # [m, rad, m/s, rad/s together] beyond this, or not finite, an environment has blown up


ENGINE_METRICS = ("diverged", "overflow")  # the last: contacts were left out because the engine ran out of room
METRICS = ("success",) + ENGINE_METRICS  # of a SuccessTask


class PhysicsTask:
    """Base of the tasks that run on a `Physics`. Implements `harl_isaac.env.MultiAgentEnv`."""

    spec: EnvSpec

    def __init__(self, physics: Physics, spec: EnvSpec):
        self.physics = physics
        self.spec = spec
        self.random = torch.Generator(device=spec.device)
        shape = (spec.num_envs,)
        self.progress = torch.zeros(shape, dtype=torch.int32, device=spec.device)  # [E] steps in this episode
        self.diverged_count = torch.zeros((), dtype=torch.int64, device=spec.device)  # since the start
        self._all = torch.ones(shape, dtype=torch.bool, device=spec.device)
        self._none = ~self._all
        self._zero = torch.zeros(shape, device=spec.device)

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.random.manual_seed(seed)
        self._start_episodes(self._all)
        return Step.first(self.spec, *self.observe())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Act, simulate, observe, reward, end, reset, observe again where an episode began."""
        with one_thread(self.spec.device):
            return self._step(actions)

    def _step(self, actions: Tuple[Tensor, ...]) -> Step:
        self.act(torch.cat(actions, dim=-1))
        self.physics.step()
        self.progress.add_(1)
        diverged = self._diverged()
        next_obs, next_state = obs, state = self.observe()
        reward = self.reward()
        terminated = self.terminated()
        if diverged is not self._none:
            reward = reward.masked_fill(diverged, 0.0)
            terminated = terminated | diverged
        done = terminated | (self.progress >= self.spec.max_episode_steps)
        metrics = self._metrics(diverged)
        if self.physics.any_without_sync(done):
            self._start_episodes(done)
            obs, state = self._observe_where(done, next_obs, next_state)
        return Step(obs, state, reward[:, None], terminated, done ^ terminated, next_obs, next_state, metrics)

    def state_dict(self) -> Dict[str, Any]:
        return {
            "physics": self.physics.state_dict(),
            "random": self.random.get_state(),
            "buffers": {name: value.clone() for name, value in self._buffers().items()},
        }

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

    def normal(self, size: int) -> Tensor:
        """[E, size] numbers of mean 0 and deviation 1 from the task's own generator."""
        return torch.randn((self.spec.num_envs, size), generator=self.random, device=self.spec.device)

    def _buffers(self) -> Dict[str, Tensor]:
        return {"progress": self.progress, "diverged": self.diverged_count, **self.buffers()}

    def _metrics(self, diverged: Tensor) -> Dict[str, Tensor]:
        blown_up = self._zero if diverged is self._none else diverged.float()
        return {"diverged": blown_up, "overflow": self.physics.overflow, **self.measure(diverged)}

    def _diverged(self) -> Tensor:
        """[E] bool, `_none` itself where that is known. Values of diverged rows are made finite so that nothing of them
        reaches a neighbor through the batch."""
        physics = self.physics
        if physics.bounded_without_sync(DIVERGED):
            return self._none
        diverged = ~(torch.linalg.vector_norm(physics.motion, dim=1) < DIVERGED)  # true for NaN as well
        if physics.any_without_sync(diverged):
            self.diverged_count += diverged.sum()
            for name in ("qpos", "qvel", "sensors") + physics.fields:
                value = getattr(physics, name)
                value.masked_fill_(diverged.view((-1,) + (1,) * (value.dim() - 1)), 0.0)
        return diverged

    def _start_episodes(self, mask: Tensor) -> None:
        self.reset_rows(mask)
        self.physics.forward(mask)
        self.progress.masked_fill_(mask, 0)
        self.started(mask)

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

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Metrics [E] float of the running episode so far, beside ENGINE_METRICS; diverged [E] bool: it just blew up."""
        return {}

    def reset_rows(self, mask: Tensor) -> None:
        """Write a new episode's first state where mask [E] is true, and only there."""
        raise NotImplementedError

    def started(self, mask: Tensor) -> None:
        """New episodes began where mask [E] is true, and derived values are current there."""


class SuccessTask(PhysicsTask):
    """A task with a success test. Its metric is whether the test held at any step of the episode so far."""

    def __init__(self, physics: Physics, spec: EnvSpec):
        super().__init__(physics, spec)
        self.success = torch.zeros_like(self._none)  # [E] held at any step so far

    def _buffers(self) -> Dict[str, Tensor]:
        return {**super()._buffers(), "success": self.success}

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        self.success |= self.succeeded() & ~diverged
        return {"success": self.success.float()}

    def started(self, mask: Tensor) -> None:
        self.success.masked_fill_(mask, False)

    def succeeded(self) -> Tensor:
        """[E] bool: the task's success test holds now."""
        raise NotImplementedError
