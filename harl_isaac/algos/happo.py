"""HAPPO: heterogeneous-agent proximal policy optimization (Zhong et al., 2024, Section 3.2.2, Algorithm 4)."""

from dataclasses import dataclass

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy_cfg import FirstOrderCfg
from harl_isaac.learning.policy_fit import FirstOrderLearner


@dataclass
class HappoCfg(FirstOrderCfg):
    """Settings of HAPPO."""

    name: str = "happo"

    def learner(self, spec: EnvSpec, seed: int) -> "Happo":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Happo(spec, self, seed)


class Happo(FirstOrderLearner):
    """One agent after the other, each by the clipped surrogate with the factor."""

    def surrogate(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """Clipped surrogate of each row, [B] x 2 -> [B]; `advantage` carries the factor (Equation 11)."""
        clipped = ratio.clamp(1.0 - self.cfg.clip, 1.0 + self.cfg.clip)
        return -torch.min(ratio * advantage, clipped * advantage)
