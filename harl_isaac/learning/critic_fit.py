"""Fitting the critic to value targets."""

from typing import Any, Dict, Optional

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.learning.batching import chunks, minibatches
from harl_isaac.learning.gradient import ValueLoss, gradient_step
from harl_isaac.learning.optimizers import Optimizer
from harl_isaac.networks.critic import Critic
from harl_isaac.networks.gru import SequenceStart


def fit_critic(
    critic: Critic,
    optimizer: Optimizer,
    state: Tensor,
    old_value: Tensor,
    target: Tensor,
    cfg: Any,
    sequence: Optional[SequenceStart] = None,
) -> Dict[str, Tensor]:
    """Fit by `cfg.critic_epochs` passes over states [B, S], old normalized values and targets [B, V].

    With a sequence start all three are sequences [N, L, .]. The normalizer is updated by the targets once a minibatch,
    before they are normalized, as in the reference implementation (Zhong et al., 2024, Algorithm 4, last line).
    """
    rows = state.shape[0]
    length = state[0].numel() // state.shape[-1]
    size = rows // cfg.critic_minibatches
    weight = cfg.value_coef / (size * target[0].numel() * ranks.world())
    state = critic.net.standardized(state)
    for _ in range(cfg.critic_epochs):
        total = torch.zeros((), device=state.device)
        for index in minibatches(rows, cfg.critic_minibatches, state.device):
            critic.normalizer.update(target[index])
            goal = critic.normalizer.normalize(target)
            loss = ValueLoss(critic, state, old_value, goal, sequence, cfg.clip, cfg.huber_delta, weight)
            parts = chunks(index, size, state.device, critic.net.width, length)
            report, norm = gradient_step(optimizer, loss, parts, cfg.max_grad_norm)
            total += report
    return {"loss": total / (target.numel() * ranks.world()), "grad_norm": norm}
