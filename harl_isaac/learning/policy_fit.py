"""Fitting policies by gradient steps on a surrogate: what HAPPO, HAA2C, MAPPO, MAA2C and IPPO share."""

from abc import abstractmethod
from dataclasses import replace
from typing import Dict

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch
from harl_isaac.learning.batching import chunks, minibatches
from harl_isaac.learning.gradient import PolicyLoss, gradient_step
from harl_isaac.learning.metrics import living
from harl_isaac.learning.on_policy import OnPolicyLearner


class FirstOrderLearner(OnPolicyLearner):
    """An on-policy learner whose policies take `algo.epochs` passes of gradient steps on `surrogate`."""

    @abstractmethod
    def surrogate(self, ratio: Tensor, advantage: Tensor) -> Tensor:
        """The algorithm's loss of each row, [B] x 2 -> [B]; `advantage` carries the factor."""

    def update_agent(self, i: int, batch: AgentBatch, advantage: Tensor) -> Dict[str, Tensor]:
        """Fit agent i's policy to its batch; nothing moves if it was alive in no row of it."""
        cfg = self.cfg
        actor = self.actors.agent(i)
        optimizer = self.optimizers[0 if self.actors.shared else i]
        batch = replace(batch, obs=actor.net.standardized(batch.obs))
        rows = batch.obs.shape[0]
        length = batch.alive[0].numel()
        device = batch.obs.device
        with self.skip_if_dead(batch.alive, optimizer):
            for _ in range(cfg.epochs):
                total = torch.zeros(2, device=device)
                for index in minibatches(rows, cfg.minibatches, device):
                    weight = living(batch.alive[index])
                    loss = PolicyLoss(actor, batch, advantage, self.surrogate, cfg.entropy_coef, weight)
                    parts = chunks(index, rows // cfg.minibatches, device, actor.net.width, length)
                    report, norm = gradient_step(optimizer, loss, parts, cfg.max_grad_norm)
                    total += report
        mean = total / living(batch.alive)
        return {"loss": mean[0], "entropy": mean[1], "grad_norm": norm}
