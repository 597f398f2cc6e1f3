"""Fitting the critic to value targets."""

from typing import Dict, Optional

import torch
from torch import Tensor

from harl_isaac.learning.gradient import chunks, gradient_step, minibatches
from harl_isaac.networks.critic import Critic
from harl_isaac.networks.gru import SequenceStart


def huber(error: Tensor, delta: float) -> Tensor:
    """error^2/2 within delta, linear beyond."""
    size = error.abs()
    return torch.where(size <= delta, 0.5 * error.square(), delta * (size - 0.5 * delta))


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, clip: float, delta: float) -> Tensor:
    """Clipped Huber loss of each row, [B] x 3 -> [B], in the normalizer's units."""
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(huber(target - value, delta), huber(target - clipped, delta))


def fit_critic(
    critic: Critic,
    optimizer: torch.optim.Optimizer,
    state: Tensor,
    old_value: Tensor,
    target: Tensor,
    cfg,
    memory: Optional[SequenceStart] = None,
) -> Dict[str, Tensor]:
    """`cfg.critic_epochs` passes over states [B, S] with old normalized values and targets [B, V] (Algorithm 4, last line).

    With a memory all three are sequences [N, L, .]. The normalizer takes in the targets once a minibatch, before they are
    normalized, as the reference does.
    """
    rows = state.shape[0]
    device = state.device
    size = rows // cfg.critic_minibatches
    state = critic.net.standardized(state)
    for _ in range(cfg.critic_epochs):
        total = torch.zeros((), device=device)
        for index in minibatches(rows, cfg.critic_minibatches, device):
            critic.normalizer.update(target[index])
            goal = critic.normalizer.normalize(target)
            weight = cfg.value_coef / (size * target[0].numel())

            def loss_of(part):
                own = None if memory is None else memory.rows(part)
                value = critic.net.run(state[part], own, standardized=True)[0]
                loss = value_loss(value, old_value[part], goal[part], cfg.clip, cfg.huber_delta).sum()
                return loss * weight, loss.detach()

            parts = chunks(index, size, device, state[0].numel() // state.shape[-1])
            loss, norm = gradient_step(optimizer, loss_of, parts, cfg.max_grad_norm)
            total += loss
    return {"loss": total / target.numel(), "grad_norm": norm}
