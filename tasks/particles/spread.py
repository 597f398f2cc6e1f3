"""simple_spread: agents divide landmarks among themselves without speaking, and avoid each other.

Every agent earns (1 - local_ratio) x the sum over landmarks of minus the distance of the nearest agent, and local_ratio
x minus the number of agents that it collides with (in version=v2 it always counts itself). `distance` [m] is the mean
over landmarks of the nearest agent's, `collisions` the number of colliding pairs summed over the episode's steps; an
episode is a success if at its end every landmark has an agent within 0.1 m and none collide.
"""

from dataclasses import dataclass
from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.settings import MOST_AGENTS, check_ranges
from harl_isaac.tasks.particles.base import REACHED, ParticleCfg, ParticleTask, check_ratio
from harl_isaac.tasks.particles.geometry import distance
from harl_isaac.tasks.particles.observation import ObservationTerm, agent_terms, identity_terms, landmark_terms


@dataclass
class SimpleSpreadCfg(ParticleCfg):
    """Any number of agents and landmarks."""

    name: str = "mpe/simple_spread"
    agents: int = 3  # their number
    landmarks: int = 3  # their number
    local_ratio: float = 0.5  # fraction of the reward for an agent's own collisions

    def make(self, num_envs: int, device: torch.device, sim: str) -> "SimpleSpread":
        """Build the scenario; `sim` has no effect. Raises ValueError for settings that mean nothing."""
        return SimpleSpread(self, num_envs, device)


class SimpleSpread(ParticleTask):
    """Box(5) within [0, 1] or Discrete(5) for each of three agents; observation 18, state 54."""

    cfg: SimpleSpreadCfg
    radius = 0.15
    landmark_radius = 0.05
    collide = True
    metrics = ("success", "distance", "collisions")

    def __init__(self, cfg: SimpleSpreadCfg, num_envs: int, device: torch.device, dtype: torch.dtype = torch.float32):
        check_ratio(cfg.local_ratio)
        check_ranges(cfg, [("agents", 1, MOST_AGENTS), ("landmarks", 1, MOST_AGENTS)], "task")
        self.names = tuple(f"agent_{i}" for i in range(cfg.agents))
        self.mobile_agents = tuple(range(cfg.agents))
        self.landmarks = cfg.landmarks
        super().__init__(cfg, num_envs, device, dtype)
        self.collisions = torch.zeros(num_envs, device=device)  # [E] colliding pairs, summed over the episode's steps
        self._touching = torch.full((cfg.agents, cfg.agents), 2.0 * self.radius, dtype=dtype, device=device)  # [m]
        self._self_hits = cfg.agents if cfg.version == "v2" else 0  # collisions of agents with themselves
        if cfg.version == "v3":
            self._touching.fill_diagonal_(0.0)  # never, not even of itself

    def observation_terms(self) -> List[List[ObservationTerm]]:
        """Own velocity and position, landmarks and other agents relative to it, and the others' words: none, zeros."""
        silence = [ObservationTerm("zero", 0, "zero", 0)] * (2 * (len(self.names) - 1))
        terms = []
        for i in self.mobile_agents:
            own = identity_terms("velocity", 2 * i, 2) + identity_terms("agent", 2 * i, 2)
            others = [term for j in self.mobile_agents if j != i for term in agent_terms(j, i)]
            terms.append(own + landmark_terms(i, self.landmarks) + others + silence)
        return terms

    def reward_and_metrics(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Minus the nearest agents' distances and own collisions; success, mean distance, collisions."""
        agents = len(self.mobile_agents)
        local = self.cfg.local_ratio
        apart = distance(self.agent[:, :, None], self.position[:, None])  # [E, A, A + L]
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
        """The collisions of the running episodes as well."""
        return {**super().buffers(), "collisions": self.collisions}

    def started(self, mask: Tensor) -> None:
        """Count collisions from zero where mask [E] is true."""
        self.collisions.masked_fill_(mask, 0.0)
