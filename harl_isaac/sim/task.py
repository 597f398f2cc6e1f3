"""The step of a simulated task, in the order of events. A task defines the methods at the bottom."""

from typing import Any, Dict, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, Step
from harl_isaac.runtime import one_thread
from harl_isaac.sim.physics import Physics

DIVERGED = 1e6  # [m, rad, m/s, rad/s together] an environment has diverged beyond this norm, or where it is not finite
# Of every task. overflow: the engine's buffers were too small, contacts were left out; unconverged: its solver stopped
# at the limit of its iterations. Each once in the episode.
ENGINE_METRICS = ("diverged", "overflow", "unconverged")
METRICS = ("success",) + ENGINE_METRICS  # of a SuccessTask


class PhysicsTask:
    """Base of the tasks that run on a `Physics`. Implements `harl_isaac.env.MultiAgentEnv`."""

    spec: EnvSpec
    control_seconds: float  # [s] of a control step

    def __init__(self, physics: Physics, spec: EnvSpec):
        self.physics = physics
        self.spec = spec
        self.random = torch.Generator(device=spec.device)
        shape = (spec.num_envs,)
        self.progress = torch.zeros(shape, dtype=torch.int32, device=spec.device)  # [E] steps in this episode
        self.diverged_count = torch.zeros((), dtype=torch.int64, device=spec.device)  # since the start
        self._all = torch.ones(shape, dtype=torch.bool, device=spec.device)
        self._none = ~self._all  # also the mask that says, by identity, that no environment diverged
        self._zero = torch.zeros(shape, device=spec.device)

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start E new episodes; a seed repeats everything that follows."""
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
        obs, state = self.observe()
        next_obs = obs
        next_state = state
        self.evaluate()
        reward = self.reward()
        terminated = self.terminated()
        if diverged is not self._none:
            reward = reward.masked_fill(diverged, 0.0)
            terminated = terminated | diverged
        done = terminated | (self.progress >= self.spec.max_episode_steps)
        metrics = self._metrics(diverged)
        self.stepped(done)
        if self.physics.any_without_sync(done):
            self._start_episodes(done)
            obs, state = self._observe_where(done, next_obs, next_state)
        return Step(obs, state, reward[:, None], terminated, done ^ terminated, next_obs, next_state, metrics)

    def state_dict(self) -> Dict[str, Any]:
        """The engine's state, the generator's, and the task's buffers."""
        return {
            "physics": self.physics.state_dict(),
            "random": self.random.get_state(),
            "buffers": {name: value.clone() for name, value in self._buffers().items()},
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue exactly from a `state_dict`."""
        self.physics.load_state_dict(state["physics"])
        self.random.set_state(state["random"])
        for name, value in self._buffers().items():
            value.copy_(state["buffers"][name])

    def close(self) -> None:
        """Nothing to release: the engine goes with the object."""

    def uniform(self, low: float, high: float, size: int) -> Tensor:
        """Uniform numbers in [low, high) from the task's own generator, [E, size]."""
        draws = torch.rand((self.spec.num_envs, size), generator=self.random, device=self.spec.device)
        return low + (high - low) * draws

    def normal(self, size: int) -> Tensor:
        """Normal numbers of mean 0 and deviation 1 from the task's own generator, [E, size]."""
        return torch.randn((self.spec.num_envs, size), generator=self.random, device=self.spec.device)

    def _buffers(self) -> Dict[str, Tensor]:
        """All tensors that a checkpoint holds beside the engine's."""
        return {"progress": self.progress, "diverged": self.diverged_count, **self.buffers()}

    def _metrics(self, diverged: Tensor) -> Dict[str, Tensor]:
        flags = self._zero if diverged is self._none else diverged.float()
        engine = {"overflow": self.physics.overflow, "unconverged": self.physics.unconverged}
        return {"diverged": flags, **engine, **self.measure(diverged)}

    def _diverged(self) -> Tensor:
        """Mask of the environments that diverged, [E] bool; `_none` itself where none is known to have.

        Values of diverged rows are set to zero, so that nothing of them reaches other rows through the batch.
        """
        physics = self.physics
        if physics.bounded_without_sync(DIVERGED):
            return self._none
        diverged = ~(torch.linalg.vector_norm(physics.motion, dim=1) < DIVERGED)  # true for NaN as well
        if physics.any_without_sync(diverged):
            self.diverged_count += diverged.sum()
            for value in (physics.qpos, physics.qvel, physics.sensors, *physics.derived.values()):
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

    # What a task defines, in this order.

    def buffers(self) -> Dict[str, Tensor]:
        """The task's own tensors [E, ...] that a checkpoint must hold."""
        return {}

    def act(self, action: Tensor) -> None:
        """Write controls from all agents' actions side by side, [E, sum of widths]."""
        raise NotImplementedError

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, O_i] and the critic's state [E, K, S], as new tensors."""
        raise NotImplementedError

    def evaluate(self) -> None:
        """Compute what reward, terminated and measure share."""

    def reward(self) -> Tensor:
        """Team reward of the step, [E]."""
        raise NotImplementedError

    def terminated(self) -> Tensor:
        """Environments whose episode is lost or won, so that nothing more can be gained, [E] bool."""
        raise NotImplementedError

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Metrics [E] float of the running episode so far, beside ENGINE_METRICS.

        `diverged` [E] bool: environments that diverged in this step.
        """
        return {}

    def stepped(self, done: Tensor) -> None:
        """Count the step, with which episodes end where done [E] is true; metrics are current there."""

    def reset_rows(self, mask: Tensor) -> None:
        """Write a new episode's first state where mask [E] is true, and only there."""
        raise NotImplementedError

    def started(self, mask: Tensor) -> None:
        """Adjust the task where new episodes began, mask [E] bool; derived values are current there."""


class SuccessTask(PhysicsTask):
    """A task with a success test, whose metric is whether the test held at any step of the episode so far."""

    def __init__(self, physics: Physics, spec: EnvSpec):
        super().__init__(physics, spec)
        self.success = torch.zeros_like(self._none)  # [E] held at any step so far

    def _buffers(self) -> Dict[str, Tensor]:
        return {**super()._buffers(), "success": self.success}

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Update `success` and report it."""
        self.success |= self.succeeded() & ~diverged
        return {"success": self.success.float()}

    def started(self, mask: Tensor) -> None:
        """Clear `success` where mask [E] is true."""
        self.success.masked_fill_(mask, False)

    def succeeded(self) -> Tensor:
        """Environments in which the task's success test holds now, [E] bool."""
        raise NotImplementedError
