"""HAPPO: heterogeneous-agent proximal policy optimization (Zhong et al., 2024, Section 3.2.2, Algorithm 4)."""

from dataclasses import dataclass
from typing import Dict

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch
from harl_isaac.env import EnvSpec
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.policy_fit import FirstOrderCfg, fit_policy
from harl_isaac.networks.actors import Actor


@dataclass
class HappoCfg(FirstOrderCfg):
    """HAPPO."""

    name: str = "happo"

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed)


def happo_loss(ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Clipped surrogate of each row, [B] x 2 -> [B]; `advantage` already carries the factor (Equation 11)."""
    return -torch.min(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def update_agent(
    actor: Actor, optimizer: torch.optim.Optimizer, batch: AgentBatch, advantage: Tensor, cfg: HappoCfg
) -> Dict[str, Tensor]:
    """See `fit_policy`."""
    return fit_policy(actor, optimizer, batch, advantage, cfg, lambda ratio, own: happo_loss(ratio, own, cfg.clip))
