"""Fitting policies by gradient steps on a surrogate: what HAPPO, HAA2C, MAPPO, MAA2C and IPPO share."""

from abc import abstractmethod
from dataclasses import replace
from typing import Dict, List

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch
from harl_isaac.env import EnvSpec
from harl_isaac.learning.batching import chunks, minibatches
from harl_isaac.learning.gradient import PolicyLoss, gradient_step
from harl_isaac.learning.joint_policy_fit import JointPolicyFit
from harl_isaac.learning.kl_rule import adapted_rate
from harl_isaac.learning.metrics import living
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.on_policy_cfg import FirstOrderCfg
from harl_isaac.learning.optimizers import Optimizer


class FirstOrderLearner(OnPolicyLearner):
    """An on-policy learner whose policies take `algo.epochs` passes of gradient steps on `surrogate`."""

    def __init__(self, spec: EnvSpec, cfg: FirstOrderCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        own_networks = not (self.actors.shared or cfg.recurrent)
        own_update = type(self).update_agent is not FirstOrderLearner.update_agent  # a derived algorithm's
        if own_networks and not self.sequential and not own_update:
            self.scheme = JointPolicyFit(self)

    def adapt(self, numbers: Dict[str, float]) -> Dict[str, float]:
        """Raise or lower each policy's learning rate by how far its update moved it, if algo.kl_target.

        Returns agent/<name>/lr, the rates of the next update.
        """
        rates: Dict[str, float] = {}
        if self.cfg.kl_target == 0.0:
            return rates
        for i, optimizer in enumerate(self.optimizers):
            agents = self.trained if self.actors.shared else [i] if i in self.trained else []
            moves = [numbers[f"agent/{self.spec.agents[agent]}/kl"] for agent in agents]
            group = optimizer.param_groups[0]
            if moves:
                group["lr"] = adapted_rate(group["lr"], sum(moves) / len(moves), self.cfg.kl_target)
            for agent in agents:
                rates[f"agent/{self.spec.agents[agent]}/lr"] = group["lr"]
        return rates

    def decaying_optimizers(self) -> List[Optimizer]:
        """All, but not those of the policies where these have the KL rule."""
        optimizers = super().decaying_optimizers()
        return [each for each in optimizers if each not in self.optimizers] if self.cfg.kl_target else optimizers

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
