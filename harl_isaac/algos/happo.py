"""HAPPO: heterogeneous-agent proximal policy optimisation (Zhong et al., 2024, Section 4.3, Algorithm 4)."""

from dataclasses import dataclass
from typing import Dict

import torch
from torch import Tensor

from harl_isaac.algos.gradient import chunks, gradient_step, minibatches
from harl_isaac.algos.on_policy import OnPolicyCfg, OnPolicyLearner
from harl_isaac.env import EnvSpec
from harl_isaac.networks.actors import Actor
from harl_isaac.rollout import AgentBatch


@dataclass
class HappoCfg(OnPolicyCfg):
    """HAPPO."""

    name: str = "happo"

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed)


def happo_loss(log_prob: Tensor, old_log_prob: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Clipped surrogate of each row, [B] x 3 -> [B]; `advantage` already carries the factor (Equation 11)."""
    ratio = (log_prob - old_log_prob).exp()
    return -torch.min(ratio * advantage, ratio.clamp(1.0 - clip, 1.0 + clip) * advantage)


def update_agent(actor: Actor, optimiser: torch.optim.Optimizer, batch: AgentBatch, advantage: Tensor,
                 cfg: HappoCfg) -> Dict[str, Tensor]:
    """`cfg.epochs` passes over one agent's batch; advantage [B] is factor x normalised advantage."""
    rows, device = batch.obs.shape[0], batch.obs.device
    for _ in range(cfg.epochs):
        total = torch.zeros(2, device=device)
        for index in minibatches(rows, cfg.minibatches, device):
            weight = batch.alive[index].sum().clamp(min=1.0)

            def loss_of(part):
                own = batch.rows(part)
                log_prob, entropy = actor.evaluate(own.obs, own.action, own.mask)
                surrogate = (happo_loss(log_prob, own.log_prob, advantage[part], cfg.clip) * own.alive).sum()
                bonus = (entropy * own.alive).sum()
                return (surrogate - cfg.entropy_coef * bonus) / weight, torch.stack((surrogate, bonus)).detach()

            parts = chunks(index, rows // cfg.minibatches, device)
            sums, norm = gradient_step(optimiser, loss_of, parts, cfg.max_grad_norm)
            total += sums
    loss, entropy = total / batch.alive.sum().clamp(min=1.0)
    return {"loss": loss, "entropy": entropy, "grad_norm": norm}
