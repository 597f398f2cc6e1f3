"""simple_spread: agents share landmarks out among themselves by sight alone, and keep off each other.

Every agent earns (1 - local_ratio) x the sum over landmarks of minus the distance of the nearest agent, and local_ratio x
minus the number of agents that it collides with (in version=v2 it always counts itself). `distance` [m] is the mean over
landmarks of the nearest agent's, `collisions` the number of colliding pairs summed over the episode's steps; an episode is a
success if at its end every landmark has an agent within 0.1 m and none collide.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.particles.base import (
    REACHED,
    ParticleCfg,
    ParticleTask,
    Sight,
    check_ratio,
    distance,
    landmark_sights,
    own,
)


@dataclass
class SimpleSpreadCfg(ParticleCfg):
    """As many agents and landmarks as asked for."""

    name: str = "mpe/simple_spread"
    agents: int = 3
    landmarks: int = 3
    local_ratio: float = 0.5  # share of the reward for an agent's own collisions

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SimpleSpread":
        return SimpleSpread(self, num_envs, device)


class SimpleSpread(ParticleTask):
    """Box(5) within [0, 1] or Discrete(5) for each of three agents; observation 18, state 54."""

    radius = 0.15
    landmark_radius = 0.05
    collide = True
    metrics = ("success", "distance", "collisions")

    def __init__(self, cfg: SimpleSpreadCfg, num_envs: int, device: torch.device, dtype: torch.dtype = torch.float32):
        check_ratio(cfg.local_ratio)
        if cfg.agents < 1 or cfg.landmarks < 1:
            raise ValueError(f"task.agents={cfg.agents} task.landmarks={cfg.landmarks} must be at least 1")
        self.names = tuple(f"agent_{i}" for i in range(cfg.agents))
        self.movers = tuple(range(cfg.agents))
        self.landmarks = cfg.landmarks
        super().__init__(cfg, num_envs, device, dtype)
        self.collisions = torch.zeros(num_envs, device=device)  # [E] colliding pairs, summed over the episode's steps
        self._touching = torch.full((cfg.agents, cfg.agents), 2.0 * self.radius, dtype=dtype, device=device)  # [m]
        self._self_hits = cfg.agents if cfg.version == "v2" else 0
        if cfg.version == "v3":
            self._touching.fill_diagonal_(0.0)  # never, not even of itself

    def sights(self) -> List[List[Sight]]:
        """Own velocity and place, landmarks and the other agents from there, and what these say: never anything."""
        return [
            own("velocity", 2 * i, 2)
            + own("agent", 2 * i, 2)
            + landmark_sights(i, self.landmarks)
            + [("agent", 2 * j + k, "agent", 2 * i + k) for j in self.movers if j != i for k in (0, 1)]
            + [("zero", 0, "zero", 0)] * (2 * (len(self.movers) - 1))
            for i in self.movers
        ]

    def score(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        agents = len(self.movers)
        local = self.cfg.local_ratio
        apart = distance(self.agent[:, :, None], self.place[:, None])  # [E, A, A + L]
        nearest = apart[:, :, agents:].amin(1)  # [E, L]
        hits = (apart[:, :, :agents] < self._touching).sum(2, dtype=self.dtype)  # [E, A]
        rewards = (hits * -local).sub_(nearest.sum(1, keepdim=True), alpha=1.0 - local)
        pairs = (hits.sum(1) - self._self_hits).float() * 0.5
        self.collisions += pairs
        success = (nearest.amax(1) < REACHED) & (pairs == 0.0) & ended
        return rewards, {
            "success": success.float(),
            "distance": nearest.mean(1).float(),
            "collisions": self.collisions.clone(),
        }

    def buffers(self) -> Dict[str, Tensor]:
        return {**super().buffers(), "collisions": self.collisions}

    def started(self, mask: Tensor) -> None:
        self.collisions.masked_fill_(mask, 0.0)
