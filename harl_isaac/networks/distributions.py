"""Action distributions as functions of a network's head, one class for each kind of action space.

`head` [..., H] is the network's output for one agent, `log_std` [..., W] its learned scale (Box only), `mask` [..., N]
allows choices (discrete only). Actions are float [..., W] throughout; discrete choices are whole numbers in it.
"""

import math
from typing import List, Optional, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, MultiDiscrete, Space

STD_X = 1.0  # sigma = max_std sigmoid(log_std / STD_X): 0.73 max_std at the start, where log_std is 1
MAX_STD = 0.5  # of the paper's experiments
FORBIDDEN = -1e10  # logit of a masked choice
HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)


def std_of(log_std: Tensor, max_std: float = MAX_STD) -> Tensor:
    """The reference implementation's bounded, state-independent sigma."""
    return max_std * torch.sigmoid(log_std / STD_X)


class Gaussian:
    """Diagonal normal for a Box, in units in which the bounds are -1 and 1; samples may lie outside."""

    def __init__(self, space: Box, max_std: float = MAX_STD):
        self.head_size = self.width = space.size
        self.max_std = max_std

    def sample(self, head: Tensor, log_std: Tensor, mask: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """Action [..., W] and its log-probability [...]."""
        std = std_of(log_std, self.max_std)
        noise = torch.randn_like(head)
        at_mean = -(std.log() + HALF_LOG_2PI).sum(-1)
        return torch.addcmul(head, std, noise), torch.sub(at_mean, noise.square().sum(-1), alpha=0.5)

    def mode(self, head: Tensor, mask: Optional[Tensor]) -> Tensor:
        """The likeliest action [..., W]."""
        return head

    def log_prob(self, head: Tensor, log_std: Tensor, mask: Optional[Tensor], action: Tensor) -> Tensor:
        """Log-probability of actions [..., W], [...]."""
        std = std_of(log_std, self.max_std)
        at_mean = -(std.log() + HALF_LOG_2PI).sum(-1)
        return torch.sub(at_mean, ((action - head) / std).square().sum(-1), alpha=0.5)

    def log_probs(self, head: Tensor, log_std: Tensor, mask: Optional[Tensor], action: Tensor) -> Tensor:
        """Log-probability of each dimension, [..., W]."""
        std = std_of(log_std, self.max_std)
        return -0.5 * ((action - head) / std).square() - std.log() - HALF_LOG_2PI

    def entropy(self, head: Tensor, log_std: Tensor, mask: Optional[Tensor]) -> Tensor:
        """Entropy [...]."""
        total = (0.5 + HALF_LOG_2PI + std_of(log_std, self.max_std).log()).sum(-1)
        return total.expand(head.shape[:-1])

    def kl(
        self, old_head: Tensor, old_log_std: Tensor, head: Tensor, log_std: Tensor, mask: Optional[Tensor]
    ) -> Tensor:
        """KL(old, new) [...]: summed over dimensions."""
        old_std = std_of(old_log_std, self.max_std)
        std = std_of(log_std, self.max_std)
        spread = (old_std / std).square() + ((old_head - head) / std).square() - 1.0
        return (0.5 * spread + std.log() - old_std.log()).sum(-1)


class Categoricals:
    """Independent choices for Discrete (one head) and MultiDiscrete (several)."""

    def __init__(self, space: Union[Discrete, MultiDiscrete]):
        self.nvec = (space.n,) if isinstance(space, Discrete) else tuple(space.nvec)
        self.head_size = sum(self.nvec)
        self.width = len(self.nvec)

    def sample(self, head: Tensor, log_std: Optional[Tensor], mask: Optional[Tensor]) -> Tuple[Tensor, Tensor]:
        """Action [..., W] and its log-probability [...]: the Gumbel-max trick, which needs no host and no division."""
        logs = self.log_probs_of_choices(head, mask)
        gumbel = [log - torch.empty_like(log).exponential_().log() for log in logs]
        action = torch.stack([value.argmax(-1) for value in gumbel], -1)
        return action.to(head.dtype), self._gather(logs, action)

    def mode(self, head: Tensor, mask: Optional[Tensor]) -> Tensor:
        """The likeliest action [..., W]."""
        return torch.stack([log.argmax(-1) for log in self.log_probs_of_choices(head, mask)], -1).to(head.dtype)

    def log_prob(self, head: Tensor, log_std: Optional[Tensor], mask: Optional[Tensor], action: Tensor) -> Tensor:
        """Log-probability of all heads' choices together, [...]."""
        return self._gather(self.log_probs_of_choices(head, mask), action.long())

    def log_probs(self, head: Tensor, log_std: Optional[Tensor], mask: Optional[Tensor], action: Tensor) -> Tensor:
        """Log-probability of each head's choice, [..., W]."""
        return self._gather_each(self.log_probs_of_choices(head, mask), action.long())

    def entropy(self, head: Tensor, log_std: Optional[Tensor], mask: Optional[Tensor]) -> Tensor:
        """Entropy [...], summed over heads."""
        return -sum((log.exp() * log).sum(-1) for log in self.log_probs_of_choices(head, mask))

    def kl(
        self,
        old_head: Tensor,
        old_log_std: Optional[Tensor],
        head: Tensor,
        log_std: Optional[Tensor],
        mask: Optional[Tensor],
    ) -> Tensor:
        """KL(old, new) [...]: the sum over choices of p (log p - log q), summed over heads.

        Differs from the reference implementation, whose terms are not weighted by p: what it calls a KL of 0.914 can be
        one of 0.0021. A discrete `kl_threshold` tuned for it therefore allows longer steps here.
        """
        pairs = zip(self.log_probs_of_choices(old_head, mask), self.log_probs_of_choices(head, mask))
        return sum((old.exp() * (old - new)).sum(-1) for old, new in pairs)

    def log_probs_of_choices(self, head: Tensor, mask: Optional[Tensor]) -> List[Tensor]:
        """Log-probabilities of all choices, a tensor [..., n] for each head."""
        if mask is not None:
            head = torch.where(mask, head, FORBIDDEN)
        return [part.log_softmax(-1) for part in head.split(self.nvec, -1)]

    @staticmethod
    def _gather_each(logs: List[Tensor], action: Tensor) -> Tensor:
        return torch.cat([log.gather(-1, action[..., i : i + 1]) for i, log in enumerate(logs)], -1)

    def _gather(self, logs: List[Tensor], action: Tensor) -> Tensor:
        return self._gather_each(logs, action).sum(-1)


def distribution_for(space: Space, max_std: float = MAX_STD) -> Union[Gaussian, Categoricals]:
    """The distribution of a policy over `space`; `max_std` bounds the sigma of a Box."""
    return Gaussian(space, max_std) if isinstance(space, Box) else Categoricals(space)
