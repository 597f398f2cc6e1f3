"""Fitting the critic to value targets, and the gradient step that actors and critics share."""

from typing import Dict, Iterator

import torch
from torch import Tensor

from harl_isaac.networks.critic import Critic

CPU_CHUNK = 1280  # rows for each thread, so that a chunk's activations stay in the cache; gradients add up to the batch's


def adam(parameters, lr: float, eps: float) -> torch.optim.Adam:
    """Adam in one kernel where this torch has it for the parameters' device (it then reads nothing on the host)."""
    parameters = list(parameters)
    try:
        return torch.optim.Adam(parameters, lr=lr, eps=eps, fused=True)
    except RuntimeError:  # torch < 2.4 on the CPU
        return torch.optim.Adam(parameters, lr=lr, eps=eps)


def minibatches(rows: int, count: int, device: torch.device) -> Iterator:
    """`count` random equal parts of the rows 0..rows-1; a single part is all of them, in order."""
    if count == 1:
        yield slice(0, rows)
        return
    for index in torch.randperm(rows, device=device).view(count, rows // count):
        yield index


def chunks(index, rows: int, device: torch.device) -> Iterator:
    """A minibatch in pieces that fit a CPU's cache; whole on other devices."""
    size = CPU_CHUNK * torch.get_num_threads() if device.type == "cpu" else rows
    if not isinstance(index, slice):
        yield from index.split(size)
        return
    for start in range(0, rows, size):
        yield slice(start, min(start + size, rows))


def gradient_step(optimiser: torch.optim.Optimizer, losses: Iterator[Tensor], max_norm: float) -> Tensor:
    """One step on the sum of `losses`, each freed before the next is made; returns the gradient's norm []."""
    optimiser.zero_grad(set_to_none=False)
    for loss in losses:
        loss.backward()
    parameters = [p for group in optimiser.param_groups for p in group["params"]]
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    optimiser.step()
    return norm


def huber(error: Tensor, delta: float) -> Tensor:
    """error^2/2 within delta, linear beyond."""
    size = error.abs()
    return torch.where(size <= delta, 0.5 * error.square(), delta * (size - 0.5 * delta))


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, clip: float, delta: float) -> Tensor:
    """Clipped Huber loss of each row, [B] x 3 -> [B], in the normaliser's units."""
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(huber(target - value, delta), huber(target - clipped, delta))


def fit_critic(critic: Critic, optimiser: torch.optim.Optimizer, state: Tensor, old_value: Tensor, target: Tensor,
               cfg) -> Dict[str, Tensor]:
    """`cfg.critic_epochs` passes over states [B, S] with old normalised values and targets [B] (Algorithm 4, last line).

    The normaliser takes in the targets once a minibatch, before they are normalised, as the reference does.
    """
    rows, device = state.shape[0], state.device
    size = rows // cfg.critic_minibatches
    for _ in range(cfg.critic_epochs):
        total = torch.zeros((), device=device)
        for index in minibatches(rows, cfg.critic_minibatches, device):
            critic.normalizer.update(target[index])
            goal = critic.normalizer.normalize(target)

            def losses():
                for part in chunks(index, size, device):
                    each = value_loss(critic.normalized(state[part]), old_value[part], goal[part], cfg.clip,
                                      cfg.huber_delta)
                    total.add_(each.detach().sum())
                    yield each.sum() * (cfg.value_coef / size)

            norm = gradient_step(optimiser, losses(), cfg.max_grad_norm)
    return {"critic/loss": total / rows, "critic/grad_norm": norm}
