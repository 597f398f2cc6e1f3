"""Losses of policies and critics on parts of a minibatch, and the gradient step on their sum."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Callable, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.buffers.rollout import AgentBatch, RowIndex
from harl_isaac.learning.optimizers import Optimizer, parameters_of
from harl_isaac.networks.actors import Actor
from harl_isaac.networks.critic import Critic
from harl_isaac.networks.gru import SequenceStart

# part of a minibatch -> (its share of the loss [], sums to report [M], detached)
Loss = Callable[[RowIndex], Tuple[Tensor, Tensor]]


@dataclass
class PolicyLoss:
    """The loss of one agent's policy: minus the surrogate and the entropy bonus, means over rows where it was alive."""

    actor: Actor
    batch: AgentBatch  # with standardized observations
    advantage: Tensor  # [B] normalized advantage x factor
    surrogate: Callable[[Tensor, Tensor], Tensor]  # the algorithm's: (ratio [b], advantage [b]) -> loss [b]
    entropy_coef: float
    living: Tensor  # [] rows of the minibatch where the agent was alive, at least 1

    def __call__(self, part: RowIndex) -> Tuple[Tensor, Tensor]:
        """The part's share of the loss [], and its summed surrogate and entropy [2]."""
        own = self.batch.rows(part)
        head = self.actor.net.run(own.obs, own.sequence, standardized=True)[0]
        log_prob, entropy = self.actor.log_prob_and_entropy(head, own.action, own.mask)
        surrogate = (self.surrogate(own.ratio(log_prob), self.advantage[part]) * own.alive).sum()
        bonus = (entropy * own.alive).sum()
        if self.entropy_coef > 0.0:  # else the backward pass would multiply it by zero
            loss = (surrogate - self.entropy_coef * bonus) / self.living
        else:
            loss = surrogate / self.living
        return loss, torch.stack((surrogate, bonus)).detach()


@dataclass
class ValueLoss:
    """The loss of a critic: clipped Huber loss in units of the value normalizer, weighted."""

    critic: Critic
    state: Tensor  # [B, S] standardized; [N, L, S] of sequences, as the next two
    old_value: Tensor  # [B, V] normalized
    target: Tensor  # [B, V] normalized
    sequence: Optional[SequenceStart]  # of a recurrent critic
    clip: float
    huber_delta: float
    weight: float  # value_coef / numbers in the minibatch's targets

    def __call__(self, part: RowIndex) -> Tuple[Tensor, Tensor]:
        """The part's share of the loss [], and its sum without the weight []."""
        sequence = None if self.sequence is None else self.sequence.rows(part)
        value = self.critic.net.run(self.state[part], sequence, standardized=True)[0]
        loss = value_loss(value, self.old_value[part], self.target[part], self.clip, self.huber_delta).sum()
        return loss * self.weight, loss.detach()


def value_loss(value: Tensor, old_value: Tensor, target: Tensor, clip: float, delta: float) -> Tensor:
    """Clipped Huber loss of each row, [B] x 3 -> [B], in the normalizer's units."""
    clipped = old_value + (value - old_value).clamp(-clip, clip)
    return torch.maximum(huber(target - value, delta), huber(target - clipped, delta))


def huber(error: Tensor, delta: float) -> Tensor:
    """error^2/2 within delta, linear beyond."""
    size = error.abs()
    return torch.where(size <= delta, 0.5 * error.square(), delta * (size - 0.5 * delta))


def gradient_step(optimizer: Optimizer, loss: Loss, parts: List[RowIndex], max_norm: float) -> Tuple[Tensor, Tensor]:
    """One step on the sum of the parts' losses, its gradient clipped to the norm `max_norm`.

    Returns the parts' summed reports [M] and the gradient's norm [] before clipping.
    """
    parameters = parameters_of(optimizer)

    def add_gradients(share: List[RowIndex]) -> List[Tensor]:
        total: List[Tensor] = []
        for part in share:
            value, report = loss(part)
            total = add_to(total, [*torch.autograd.grad(value, parameters), report])
        return total

    sums = sum_of(over_threads(add_gradients, parts))
    ranks.add_up(sums)
    *gradients, report = sums
    set_gradients(parameters, gradients)
    norm = torch.nn.utils.clip_grad_norm_(parameters, max_norm)
    optimizer.step()
    return report, norm


def clip_scale(norm: Tensor, max_norm: float) -> Tensor:
    """Factors that clip gradients of these norms [...] to `max_norm`, as torch's clip_grad_norm_ does."""
    return (max_norm / (norm + 1e-6)).clamp(max=1.0)


def set_gradients(parameters: List[Tensor], gradients: List[Tensor]) -> None:
    """Write the parameters' gradients, whose addresses stay."""
    for parameter in parameters:
        if parameter.grad is None:
            parameter.grad = torch.empty_like(parameter)
    kept = [parameter.grad for parameter in parameters if parameter.grad is not None]
    if hasattr(torch, "_foreach_copy_"):
        torch._foreach_copy_(kept, gradients)
        return
    for own, gradient in zip(kept, gradients):  # torch 2.0
        own.copy_(gradient)


def over_threads(work: Callable[[List], Any], parts: List) -> List:
    """`work(its share of the parts)` of each thread, in the threads' order.

    On the CPU each thread works through parts of its own: faster than sharing every small product among threads.
    """
    threads = torch.get_num_threads()
    if len(parts) == 1 or threads == 1:
        return [work(parts)]

    def worker(k: int) -> Any:
        torch.set_num_threads(1)  # of this worker
        return work(parts[k::threads])

    try:
        with ThreadPoolExecutor(threads) as pool:
            return list(pool.map(worker, range(min(threads, len(parts)))))
    finally:
        torch.set_num_threads(threads)


def sum_over_parts(work: Callable[[Any], List[Tensor]], parts: List) -> List[Tensor]:
    """The fresh tensors that `work(part)` returns, each summed over the parts of all processes.

    Within a process the order is always the same.
    """

    def add_up(share: List) -> List[Tensor]:
        total: List[Tensor] = []
        for part in share:
            total = add_to(total, work(part))
        return total

    sums = sum_of(over_threads(add_up, parts))
    ranks.add_up(sums)
    return sums


def sum_of(lists: List[List[Tensor]]) -> List[Tensor]:
    """Sum lists of tensors item by item, in the first list's own memory."""
    total: List[Tensor] = []
    for values in lists:
        total = add_to(total, values)
    return total


def add_to(total: List[Tensor], values: List[Tensor]) -> List[Tensor]:
    """Add the values to the totals in place; the first values become the totals."""
    if not total:
        return values
    torch._foreach_add_(total, values)
    return total
