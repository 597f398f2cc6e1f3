"""What the output of an off-policy actor's network means, one class for each way to act.

`head` [..., H] is the network's output for one agent, `mask` [..., N] allows choices (discrete only). Actions are float
[..., W]: of a Box in units in which the bounds are -1 and 1, choices as whole numbers. `encode` is how critics see them.
"""

import math
from typing import Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from harl_isaac.env import Box, Space
from harl_isaac.networks.distributions import HALF_LOG_2PI, Categoricals

LOG_STD = (-20.0, 2.0)  # bounds of a squashed normal's (HARL's reference implementation)


class DeterministicHead:
    """tanh for a Box; explores with normal noise of deviation `noise` in half-ranges."""

    def __init__(self, space: Box, noise: float):
        self.head_size = self.width = self.features = space.size
        self.noise = noise

    def mode(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W]"""
        return torch.tanh(head)

    def explore(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] within the bounds."""
        return torch.add(torch.tanh(head), torch.randn_like(head), alpha=self.noise).clamp(-1.0, 1.0)

    def random(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] uniform within the bounds."""
        return torch.rand_like(head) * 2.0 - 1.0

    def encode(self, action: Tensor) -> Tensor:
        """[..., F]"""
        return action


class SquashedNormalHead:
    """tanh of a normal for a Box; the head is mean and log sigma. Densities are in units of [-1, 1]."""

    def __init__(self, space: Box):
        self.width = self.features = space.size
        self.head_size = 2 * space.size

    def mode(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W]"""
        return torch.tanh(head[..., : self.width])

    def explore(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] a sample."""
        mean, log_std = self._parts(head)
        return torch.tanh(mean + log_std.exp() * torch.randn_like(mean))

    def random(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] uniform within the bounds."""
        return torch.rand_like(head[..., : self.width]) * 2.0 - 1.0

    def encode(self, action: Tensor) -> Tensor:
        """[..., F]"""
        return action

    def noise(self, head: Tensor) -> Tensor:
        """What `draw` takes its chance from."""
        return torch.randn_like(head[..., : self.width])

    def draw(self, head: Tensor, noise: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """An encoded sample [..., F] with the head's gradient and its log-density [...]."""
        mean, log_std = self._parts(head)
        before = mean + log_std.exp() * noise
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), which keeps its digits where tanh(u) is 1
        slope = 2.0 * (math.log(2.0) - before - F.softplus(-2.0 * before))
        return torch.tanh(before), -(0.5 * noise.square() + log_std + HALF_LOG_2PI + slope).sum(-1)

    def target_entropy(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[...]: minus the number of dimensions (Haarnoja et al., 2018)."""
        return torch.full_like(head[..., 0], -float(self.width))

    def _parts(self, head: Tensor) -> Tuple[Tensor, Tensor]:
        mean, log_std = head.split(self.width, -1)
        return mean, log_std.clamp(*LOG_STD)


class CategoricalHead:
    """Categorical choices of a Discrete or MultiDiscrete, which critics see one-hot; a mask forbids some."""

    def __init__(self, space: Space, entropy_share: float):
        self.distribution = Categoricals(space)
        self.entropy_share = entropy_share
        self.nvec = self.distribution.nvec
        self.width = self.distribution.width
        self.head_size = self.features = self.distribution.head_size

    def mode(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W]"""
        return self.distribution.mode(head, mask)

    def explore(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] a sample."""
        return self.distribution.sample(head, None, mask)[0]

    def random(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] uniform over what is allowed."""
        return self.explore(torch.zeros_like(head), mask)

    def encode(self, action: Tensor) -> Tensor:
        """[..., F] one-hot, the heads side by side."""
        ones = [action[..., k : k + 1] == torch.arange(size, device=action.device) for k, size in enumerate(self.nvec)]
        return torch.cat(ones, -1).to(action.dtype)

    def noise(self, head: Tensor) -> Tensor:
        """What `draw` takes its chance from: Gumbel's."""
        return -torch.empty_like(head).exponential_().log()

    def draw(self, head: Tensor, noise: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """A one-hot sample [..., F], and the expectation of its log-probability [...], which is exact.

        The sample has the gradient of the Gumbel-softmax of temperature 1 (Jang et al., 2017; straight through).
        """
        logs = self.distribution.log_probs_of_choices(head, mask)
        samples = []
        for log, gumbel in zip(logs, noise.split(self.nvec, -1)):
            soft = (log + gumbel).softmax(-1)
            hard = soft.argmax(-1, keepdim=True) == torch.arange(log.shape[-1], device=log.device)
            samples.append(hard.to(soft.dtype) + (soft - soft.detach()))
        return torch.cat(samples, -1), sum((log.exp() * log).sum(-1) for log in logs)

    def target_entropy(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[...]: a share of the entropy of allowed choices that are all as likely, summed over heads."""
        allowed = torch.ones_like(head) if mask is None else mask.to(head.dtype)
        return self.entropy_share * sum(part.sum(-1).log() for part in allowed.split(self.nvec, -1))


class EpsilonGreedyHead:
    """The choice of the highest value; the head has a value for each, of a MultiDiscrete for each combination.

    Explores by choosing at random with probability `epsilon`, in each environment on its own. Critics see a choice's place.
    """

    def __init__(self, space: Space, epsilon: float):
        self.choices = Categoricals(space)
        self.epsilon = epsilon
        self.nvec = self.choices.nvec
        self.width = self.choices.width
        self.head_size = math.prod(self.nvec)

    def best(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The place [...] of the highest value that is allowed."""
        return (head if mask is None else torch.where(self.allowed(mask), head, -math.inf)).argmax(-1)

    def mode(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W]"""
        place = self.best(head, mask)
        digits = []
        for size in self.nvec[::-1]:
            digits.insert(0, place % size)
            place = torch.div(place, size, rounding_mode="floor")
        return torch.stack(digits, -1).to(head.dtype)

    def explore(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W]"""
        lot = torch.rand_like(head[..., :1]) < self.epsilon
        return torch.where(lot, self.random(head, mask), self.mode(head, mask))

    def random(self, head: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """[..., W] uniform over what is allowed."""
        blank = head.new_zeros(head.shape[:-1] + (self.choices.head_size,))
        return self.choices.sample(blank, None, mask)[0]

    def encode(self, action: Tensor) -> Tensor:
        """The place [...] of choices [..., W]."""
        place = 0
        for k, size in enumerate(self.nvec):
            place = place * size + action[..., k].long()
        return place

    def allowed(self, mask: Tensor) -> Tensor:
        """Masks [..., all heads' choices] -> [..., H] of combinations."""
        parts = mask.split(self.nvec, -1)
        result = parts[0]
        for part in parts[1:]:
            result = (result[..., :, None] & part[..., None, :]).flatten(-2)
        return result
