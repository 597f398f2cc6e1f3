"""What the bodies that run forward share: speed, effort, noise around the rest pose."""

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

    normal_velocity = False  # reset: velocities are normal instead of uniform
    bodies_that_run = 1
    metrics = ("speed",)

    def __init__(self, cfg, num_envs: int, device: torch.device, sim: str = "auto", dtype: torch.dtype = torch.float32):
        super().__init__(cfg, num_envs, device, sim, dtype)
        self._x = self.physics.qpos[:, 0]  # [E] m, a view
        self._start_x = torch.zeros_like(self._x)  # [E] m
        self._before_x = torch.zeros_like(self._start_x)  # [E] m, before this step

    def buffers(self) -> Dict[str, Tensor]:
        return {"start_x": self._start_x}

    def position(self) -> Tensor:
        """[E] m, how far forward the body is."""
        return self._x

    def act(self, action: Tensor) -> None:
        super().act(action)
        self._before_x.copy_(self.position())

    def reward(self) -> Tensor:
        return running_reward(
            self.position() - self._before_x,
            self.physics.ctrl,
            self.cfg.forward_weight / self.control_seconds,
            self.cfg.control_cost / self.bodies_that_run,
        )

    def measure(self, diverged: Tensor) -> Dict[str, Tensor]:
        return {"speed": (self.position() - self._start_x).div_(self.progress * self.control_seconds).float()}

    def reset_rows(self, mask: Tensor) -> None:
        self.at_rest_with_noise(mask, self.cfg.reset_noise, self.normal_velocity)

    def started(self, mask: Tensor) -> None:
        super().started(mask)
        torch.where(mask, self.position(), self._start_x, out=self._start_x)


@dataclass
class UprightCfg(RunningCfg):
    """Settings of every running body that must not fall."""

    healthy_reward: float = 1.0  # for each step that ends healthy


class UprightTask(RunningTask):
    """Over where the body is not `healthy` any more; each step in which it is earns something."""

    def reward(self) -> Tensor:
        return super().reward() + self.healthy() * self.cfg.healthy_reward

    def terminated(self) -> Tensor:
        return ~self.healthy()

    def healthy(self) -> Tensor:
        """[E] bool"""
        raise NotImplementedError


class ClippedTask(UprightTask):
    """The critic sees velocities clipped to +-VELOCITY_CLIP."""

    extras = ("clipped qvel",)
    state_velocity = "clipped qvel"

    def features(self) -> Tuple[Tensor, ...]:
        return (self.physics.qvel.clamp(-VELOCITY_CLIP, VELOCITY_CLIP),)


def running_reward(distance: Tensor, ctrl: Tensor, weight: float, control_cost: float) -> Tensor:
    """weight [1/m] x distance [E] m of a step - control_cost x |ctrl|^2, ctrl [E, nu] -> [E]."""
    return (distance * weight).sub_(torch.linalg.vecdot(ctrl, ctrl), alpha=control_cost)


def within(value: Tensor, low: float, high: float) -> Tensor:
    """[E] bool: low < value < high."""
    return (value > low) & (value < high)
