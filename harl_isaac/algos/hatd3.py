"""HATD3: HADDPG with twin critics, smoothed targets and delayed actors (Zhong et al., 2024, Section 3.5.3, Algorithm 7)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harl_isaac.algos.haddpg import DeterministicLearner, HaddpgCfg
from harl_isaac.buffers.replay import Batch
from harl_isaac.env import EnvSpec
from harl_isaac.learning.off_policy import OffPolicyLearner
from harl_isaac.settings import INFINITY, check_ranges


@dataclass
class Hatd3Cfg(HaddpgCfg):
    """HATD3."""

    name: str = "hatd3"
    policy_delay: int = 2
    policy_noise: float = 0.2  # deviation of the noise on the targets' actions, in half-ranges
    noise_clip: float = 0.5  # its largest size

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_ranges(self, (("policy_noise", 0, INFINITY), ("noise_clip", 0, INFINITY)))

    def learner(self, spec: EnvSpec, seed: int) -> OffPolicyLearner:
        return SmoothedLearner(spec, self, seed, critics=2)


class SmoothedLearner(DeterministicLearner):
    """Targets' actions with clipped noise, within the bounds."""

    def target_action(self, i: int, batch: Batch) -> Tensor:
        action = super().target_action(i, batch)
        noise = (torch.randn_like(action) * self.cfg.policy_noise).clamp(-self.cfg.noise_clip, self.cfg.noise_clip)
        return (action + noise).clamp(-1.0, 1.0)
