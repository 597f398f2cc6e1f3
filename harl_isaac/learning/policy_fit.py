"""Fitting a policy by gradient steps on a surrogate: what HAPPO, HAA2C, MAPPO and IPPO share."""

from dataclasses import dataclass, replace
from typing import Callable, Dict, List

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch
from harl_isaac.env import EnvSpec
from harl_isaac.learning.gradient import adam, chunks, gradient_step, minibatches, rollback_unless
from harl_isaac.learning.on_policy import OnPolicyCfg
from harl_isaac.networks.actors import Actor, StackedActors
from harl_isaac.settings import INFINITY, check_minibatches, check_ranges


@dataclass
class FirstOrderCfg(OnPolicyCfg):
    """Settings of the algorithms that fit policies by gradient steps."""

    lr: float = 3e-4
    epochs: int = 5  # of each actor
    minibatches: int = 1
    entropy_coef: float = 0.0

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_ranges(self, (("lr", 0, INFINITY), ("epochs", 1, INFINITY)))
        check_minibatches(self, spec, "minibatches")

    def optimizers(self, actors: StackedActors) -> List[torch.optim.Optimizer]:
        return [adam(actor.parameters(), self.lr, self.adam_eps) for actor in actors.agents]


def fit_policy(
    actor: Actor,
    optimizer: torch.optim.Optimizer,
    batch: AgentBatch,
    advantage: Tensor,
    cfg: FirstOrderCfg,
    loss: Callable[[Tensor, Tensor], Tensor],
) -> Dict[str, Tensor]:
    """`cfg.epochs` passes over one agent's batch; advantage [B] is factor x normalized advantage.

    `loss(ratio [B], advantage [B]) -> [B]` is the algorithm. The mean is over rows where the agent was alive; if there is
    none in the whole batch, nothing moves.
    """
    batch = replace(batch, obs=actor.net.standardized(batch.obs))
    with rollback_unless(batch.alive.any(), optimizer):
        for _ in range(cfg.epochs):
            loss_sum, entropy_sum, norm = _epoch(actor, optimizer, batch, advantage, cfg, loss)
    living = batch.alive.sum().clamp(min=1.0)
    return {"loss": loss_sum / living, "entropy": entropy_sum / living, "grad_norm": norm}


def _epoch(actor, optimizer, batch, advantage, cfg, loss):
    """One pass in minibatches; returns the summed loss and entropy, and the last gradient's norm."""
    rows = batch.obs.shape[0]
    device = batch.obs.device
    length = batch.alive[0].numel()
    total = torch.zeros(2, device=device)
    for index in minibatches(rows, cfg.minibatches, device):
        weight = batch.alive[index].sum().clamp(min=1.0)

        def loss_of(part):
            own = batch.rows(part)
            log_prob, entropy = actor.log_prob_and_entropy(
                actor.net.run(own.obs, own.memory, standardized=True)[0], own.action, own.mask
            )
            surrogate = (loss(own.ratio(log_prob), advantage[part]) * own.alive).sum()
            bonus = (entropy * own.alive).sum()
            return (surrogate - cfg.entropy_coef * bonus) / weight, torch.stack((surrogate, bonus)).detach()

        parts = chunks(index, rows // cfg.minibatches, device, length)
        sums, norm = gradient_step(optimizer, loss_of, parts, cfg.max_grad_norm)
        total += sums
    return total[0], total[1], norm
