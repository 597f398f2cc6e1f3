"""A driver who pushes and a brakeman who brakes or not keep a speed; spaces are given as gymnasium's."""

from dataclasses import dataclass

import torch
from gymnasium import spaces

from harl_isaac.env import EnvSpec, Step
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks.games.base import TensorGame


@dataclass
class TandemCfg(TaskCfg):
    target: float = 0.5
    steps: int = 10

    def make(self, num_envs, device, sim):
        return Tandem(self, num_envs, device)


class Tandem(TensorGame):
    def __init__(self, cfg, num_envs, device):
        actions = (spaces.Box(-1.0, 1.0, (1,)), spaces.Discrete(2))
        super().__init__(EnvSpec(num_envs, ("driver", "brakeman"), (2, 2), actions, 2, cfg.steps, device))
        self.cfg = cfg
        self.speed = torch.zeros(num_envs, device=device)

    def buffers(self):
        return {"count": self.count, "speed": self.speed}

    def start_episodes(self):
        self.speed.uniform_(-1.0, 1.0, generator=self.random)

    def observe(self):
        both = torch.stack((self.speed, torch.full_like(self.speed, self.cfg.target)), 1)
        return (both, both), both[:, None]

    def step(self, actions):
        push, brake = actions
        self.speed.add_(0.2 * push[:, 0]).mul_(1.0 - 0.5 * brake[:, 0])
        self.count += 1
        reward = 1.0 - (self.speed - self.cfg.target).abs()
        ended = self.count >= self.cfg.steps
        last_obs, last_state = self.observe()
        fresh = torch.rand(self.speed.shape, generator=self.random, device=self.speed.device)
        self.speed.copy_(torch.where(ended, fresh, self.speed))
        self.count.masked_fill_(ended, 0)
        obs, state = self.observe()
        return Step(obs, state, reward[:, None], ended & False, ended, last_obs, last_state)
