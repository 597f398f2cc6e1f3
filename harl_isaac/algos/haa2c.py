"""HAA2C: heterogeneous-agent advantage actor-critic (Zhong et al., 2024, Section 4.3, Appendix G)."""

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
class Haa2cCfg(FirstOrderCfg):
    """HAA2C. `clip` bounds the change of values only."""

    name: str = "haa2c"

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed)


def haa2c_loss(ratio: Tensor, advantage: Tensor) -> Tensor:
    """Surrogate of each row, [B] x 2 -> [B]: at the first step its gradient is the policy gradient with the factor."""
    return -ratio * advantage


def update_agent(
    actor: Actor, optimizer: torch.optim.Optimizer, batch: AgentBatch, advantage: Tensor, cfg: Haa2cCfg
) -> Dict[str, Tensor]:
    """See `fit_policy`."""
    return fit_policy(actor, optimizer, batch, advantage, cfg, haa2c_loss)
