"""Base of the tasks whose bodies run forward: speed, effort, noise around the rest pose."""

from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.mamujoco.base import MamujocoCfg, MamujocoTask

VELOCITY_CLIP = 10.0  # [m/s, rad/s]


@dataclass
class RunningCfg(MamujocoCfg):
    """Settings of every running body; gymnasium's v5 defaults."""

    forward_weight: float = 1.0  # reward for each m/s forward
    control_cost: float = 0.1  # for each squared unit of control
    reset_noise: float = 0.1  # [m, rad, m/s, rad/s] around the rest pose


class RunningTask(MamujocoTask):
    """The reward is the speed forward in this step, less the effort. `speed` [m/s] is the episode's mean so far."""

    cfg: RunningCfg
    normal_velocity = False  # reset: velocities are normal instead of uniform
    bodies_that_run = 1  # over which the effort is averaged
    metrics = ("speed",)

    def __init__(
        self,
        cfg: RunningCfg,
        num_envs: int,
        device: torch.device,
        sim: str = "auto",
        dtype: torch.dtype = torch.float32,
    ):
        super().__init__(cfg, num_envs, device, sim, dtype)
        self._x = self.physics.qpos[:, 0]  # [E] m, a view
        self._start_x = torch.zeros_like(self._x)  # [E] m
        self._before_x = torch.zeros_like(self._start_x)  # [E] m, before this step

    def buffers(self) -> Dict[str, Tensor]:
        """Position at which the episode began."""
        return {"start_x": self._start_x}

    def position(self) -> Tensor:
        """Position of the body in forward direction, [E] m."""
        return self._x

    def act(self, action: Tensor) -> None:
        """Write controls, and remember the position before the step."""
        super().act(action)
        self._before_x.copy_(self.position())

    def reward(self) -> Tensor:
        """Speed forward in this step less the effort, [E]."""
        return running_reward(
            self.position() - self._before_x,
            self.physics.ctrl,
            self.cfg.forward_weight / self.control_seconds,
            self.cfg.control_cost / self.bodies_that_run,
        )

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        """Mean speed of the episode so far."""
        return {"speed": (self.position() - self._start_x).div_(self.progress * self.control_seconds).float()}

    def reset_rows(self, mask: Tensor) -> None:
        """Start at the rest pose with noise where mask [E] is true."""
        self.at_rest_with_noise(mask, self.cfg.reset_noise, self.normal_velocity)

    def started(self, mask: Tensor) -> None:
        """Note the position at which episodes began where mask [E] is true."""
        super().started(mask)
        torch.where(mask, self.position(), self._start_x, out=self._start_x)


@dataclass
class UprightCfg(RunningCfg):
    """Settings of every running body that must not fall."""

    healthy_reward: float = 1.0  # for each step that ends healthy


class UprightTask(RunningTask):
    """An episode is over where the body is not `healthy`; each step that ends healthy is rewarded."""

    cfg: UprightCfg

    def reward(self) -> Tensor:
        """Reward of running, and of being healthy, [E]."""
        return super().reward() + self.healthy() * self.cfg.healthy_reward

    def terminated(self) -> Tensor:
        """Environments whose body is not healthy, [E] bool."""
        return ~self.healthy()

    def healthy(self) -> Tensor:
        """Environments whose body neither fell nor flew, [E] bool."""
        raise NotImplementedError


class ClippedTask(UprightTask):
    """An upright task whose critic observes velocities clipped to +-VELOCITY_CLIP."""

    extras = ("clipped qvel",)
    state_velocity = "clipped qvel"

    def features(self) -> Tuple[Tensor, ...]:
        """Clipped velocities [E, nv]."""
        return (self.physics.qvel.clamp(-VELOCITY_CLIP, VELOCITY_CLIP),)


def running_reward(distance: Tensor, ctrl: Tensor, weight: float, control_cost: float) -> Tensor:
    """Reward of a step: weight [1/m] x distance [E] m - control_cost x |ctrl|^2 for ctrl [E, nu], [E]."""
    return (distance * weight).sub_(torch.linalg.vecdot(ctrl, ctrl), alpha=control_cost)


def within(value: Tensor, low: float, high: float) -> Tensor:
    """Whether low < value < high, [E] bool."""
    return (value > low) & (value < high)
