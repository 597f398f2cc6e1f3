"""HATD3: HADDPG with twin critics, smoothed targets, delayed actors (Zhong et al., 2024, Section 3.5.3, Alg. 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harl_isaac.algos.haddpg import Haddpg, HaddpgCfg
from harl_isaac.buffers.replay import Batch
from harl_isaac.env import EnvSpec
from harl_isaac.settings import INFINITY, check_limits, check_ranges


@dataclass
class Hatd3Cfg(HaddpgCfg):
    """Settings of HATD3."""

    name: str = "hatd3"
    policy_delay: int = 2
    policy_noise: float = 0.2  # deviation of the noise on the targets' actions, in half-ranges
    noise_clip: float = 0.5  # its largest size

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("policy_noise", 0, INFINITY)])
        check_limits(self, ["noise_clip"])

    def learner(self, spec: EnvSpec, seed: int) -> "Hatd3":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Hatd3(spec, self, seed)


class Hatd3(Haddpg):
    """Targets' actions with clipped noise, within the bounds; the minimum of two critics as their value."""

    num_critics = 2

    def target_action(self, i: int, batch: Batch) -> Tensor:
        """Action of agent i's target network in the next states, with clipped noise, [B, W_i]."""
        action = super().target_action(i, batch)
        noise = torch.randn_like(action) * self.cfg.policy_noise
        noise = noise.clamp(-self.cfg.noise_clip, self.cfg.noise_clip)
        return (action + noise).clamp(-1.0, 1.0)
