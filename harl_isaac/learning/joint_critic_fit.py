"""Values and fits of the agents' own critics, all of them in batched passes (IPPO)."""

from dataclasses import dataclass
from typing import Any, Dict, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.learning.batching import minibatches
from harl_isaac.learning.gradient import value_loss
from harl_isaac.learning.joint_step import JointStep, joint_parts
from harl_isaac.learning.optimizers import Optimizer
from harl_isaac.networks.critic import StackedCritics


@dataclass
class JointValueLoss:
    """The sum of all critics' losses: of each the clipped Huber loss in units of its normalizer, weighted."""

    critics: StackedCritics
    obs: Tensor  # [A, B, O] standardized
    old_value: Tensor  # [B, A] normalized
    target: Tensor  # [B, A] normalized
    clip: float
    huber_delta: float
    weight: float  # value_coef / rows in the minibatch

    def __call__(self, part: RowIndex) -> Tuple[Tensor, Tensor]:
        """The part's share of the loss [], and its sum without the weight []."""
        value = self.critics.networks.run(self.obs[:, part], standardized=True)[..., 0].t()
        loss = value_loss(value, self.old_value[part], self.target[part], self.clip, self.huber_delta).sum()
        return loss * self.weight, loss.detach()


class JointCriticFit:
    """Critics that are evaluated and fitted together; `cfg` is an OnPolicyCfg without recurrence."""

    def __init__(self, critics: StackedCritics, optimizers: Sequence[Optimizer], cfg: Any):
        self.critics = critics
        self.cfg = cfg
        self.step = JointStep(critics.networks.blocks(), optimizers)

    def normalized(self, obs: Tensor) -> Tensor:
        """Normalized values [T, E, A] of padded observations [T, E, A, O]."""
        rows = self._rows(obs)
        networks = self.critics.networks
        parts = joint_parts(slice(0, rows.shape[1]), rows.shape[1], networks, obs.device)
        values = [networks.run(rows[:, part])[..., 0].t() for part in parts]
        return torch.cat(values).view(obs.shape[:3])

    def fit(self, obs: Tensor, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Fit by `cfg.critic_epochs` passes to targets [T, E, A], given the old normalized values; returns metrics.

        The normalizers are updated as in `critic_fit.fit_critic`.
        """
        cfg = self.cfg
        old = old.flatten(0, 1)
        target = target.flatten(0, 1)
        rows = len(target)
        device = target.device
        size = rows // cfg.critic_minibatches
        weight = cfg.value_coef / (size * ranks.world())
        inputs = self.critics.networks.standardized(self._rows(obs))
        for _ in range(cfg.critic_epochs):
            total = torch.zeros((), device=device)
            for index in minibatches(rows, cfg.critic_minibatches, device):
                self.critics.normalizer.update(target[index])
                goal = self.critics.normalizer.normalize(target)
                loss = JointValueLoss(self.critics, inputs, old, goal, cfg.clip, cfg.huber_delta, weight)
                report, norm = self.step(
                    loss, joint_parts(index, size, self.critics.networks, device), cfg.max_grad_norm
                )
                total += report
        return {"loss": total / (target.numel() * ranks.world()), "grad_norm": norm.mean()}

    def _rows(self, obs: Tensor) -> Tensor:
        """[T, E, A, O] as [A, T E, F], without what only policies see (the agent's number)."""
        return obs[..., : self.critics.networks.width].flatten(0, 1).transpose(0, 1)
