"""Policy heads of the off-policy actors: actions from the output of an agent's network, one class for each way to
act.

`output` [..., H] is the network's output for one agent, `mask` [..., N] allows choices (discrete only). Actions are
float [..., W]: of a Box in units in which the bounds are -1 and 1, choices as whole numbers. Critics take them
encoded, [..., F].
"""

import math
from typing import List, Optional, Tuple, Union

import torch
import torch.nn.functional as F
from torch import Tensor

from harl_isaac.env import Box, Discrete, EnvSpec, MultiDiscrete
from harl_isaac.networks.distributions import HALF_LOG_2PI, Categoricals

LOG_STD = (-20.0, 2.0)  # bounds of a squashed normal's (HARL's reference implementation)


class DeterministicHead:
    """tanh for a Box; explores with normal noise of deviation `noise` in half-ranges."""

    def __init__(self, space: Box, noise: float):
        self.head_size = space.size  # H
        self.width = space.size  # W
        self.features = space.size  # F
        self.noise = noise

    def mode(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The action without noise, [..., W]."""
        return torch.tanh(output)

    def sample_exploration(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """A noisy action [..., W] within the bounds."""
        return torch.add(torch.tanh(output), torch.randn_like(output), alpha=self.noise).clamp(-1.0, 1.0)

    def random(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """A uniformly random action [..., W] within the bounds."""
        return torch.rand_like(output) * 2.0 - 1.0

    def encode(self, action: Tensor) -> Tensor:
        """The action as critics take it: unchanged, [..., F]."""
        return action


class SquashedNormalHead:
    """tanh of a normal for a Box; the network outputs mean and log sigma. Densities are in units of [-1, 1]."""

    def __init__(self, space: Box):
        self.width = space.size
        self.features = space.size
        self.head_size = 2 * space.size

    def mode(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The tanh of the mean, [..., W]."""
        return torch.tanh(output[..., : self.width])

    def sample_exploration(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """A sample [..., W]."""
        mean, log_std = self._parts(output)
        return torch.tanh(mean + log_std.exp() * torch.randn_like(mean))

    def random(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """A uniformly random action [..., W] within the bounds."""
        return torch.rand_like(output[..., : self.width]) * 2.0 - 1.0

    def encode(self, action: Tensor) -> Tensor:
        """The action as critics take it: unchanged, [..., F]."""
        return action

    def noise(self, output: Tensor) -> Tensor:
        """Noise [..., W] for the reparameterized sample."""
        return torch.randn_like(output[..., : self.width])

    def rsample(self, output: Tensor, noise: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """An encoded sample [..., F] with the output's gradient and its log-density [...]."""
        mean, log_std = self._parts(output)
        before = mean + log_std.exp() * noise
        # log(1 - tanh(u)^2) = 2 (log 2 - u - softplus(-2 u)), which keeps its digits where tanh(u) is 1
        slope = 2.0 * (math.log(2.0) - before - F.softplus(-2.0 * before))
        return torch.tanh(before), -(0.5 * noise.square() + log_std + HALF_LOG_2PI + slope).sum(-1)

    def target_entropy(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """Minus the number of dimensions, [...] (Haarnoja et al., 2018)."""
        return torch.full_like(output[..., 0], -float(self.width))

    def _parts(self, output: Tensor) -> Tuple[Tensor, Tensor]:
        mean, log_std = output.split(self.width, -1)
        return mean, log_std.clamp(*LOG_STD)


class CategoricalHead:
    """Categorical choices of a Discrete or MultiDiscrete, one-hot for critics; a mask forbids some."""

    def __init__(self, space: Union[Discrete, MultiDiscrete], entropy_share: float):
        self.distribution = Categoricals(space)
        self.entropy_share = entropy_share
        self.nvec = self.distribution.nvec
        self.width = self.distribution.width
        self.head_size = self.distribution.head_size
        self.features = self.distribution.head_size

    def mode(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The most likely choices [..., W]."""
        return self.distribution.mode(output, mask)

    def sample_exploration(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """A sample [..., W]."""
        return self.distribution.sample(output, None, mask)[0]

    def random(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """Uniformly random choices [..., W] of those allowed."""
        return self.sample_exploration(torch.zeros_like(output), mask)

    def encode(self, action: Tensor) -> Tensor:
        """One-hot choices [..., F], those of several heads one behind the other."""
        ones = [action[..., k : k + 1] == torch.arange(size, device=action.device) for k, size in enumerate(self.nvec)]
        return torch.cat(ones, -1).to(action.dtype)

    def noise(self, output: Tensor) -> Tensor:
        """Gumbel noise [..., H] for the reparameterized sample."""
        return -torch.empty_like(output).exponential_().log()

    def rsample(self, output: Tensor, noise: Tensor, mask: Optional[Tensor] = None) -> Tuple[Tensor, Tensor]:
        """A one-hot sample [..., F], and the expectation of its log-probability [...], which is exact.

        The sample has the gradient of the Gumbel-softmax of temperature 1 (Jang et al., 2017; straight through).
        """
        logs = self.distribution.log_probs_of_choices(output, mask)
        samples = []
        for log, gumbel in zip(logs, noise.split(self.nvec, -1)):
            soft = (log + gumbel).softmax(-1)
            hard = soft.argmax(-1, keepdim=True) == torch.arange(log.shape[-1], device=log.device)
            samples.append(hard.to(soft.dtype) + (soft - soft.detach()))
        return torch.cat(samples, -1), sum((log.exp() * log).sum(-1) for log in logs)

    def target_entropy(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """A share of the entropy of equally likely allowed choices, [...], summed over heads."""
        allowed = torch.ones_like(output) if mask is None else mask.to(output.dtype)
        return self.entropy_share * sum(part.sum(-1).log() for part in allowed.split(self.nvec, -1))


class EpsilonGreedyHead:
    """The choice of the highest value; the network outputs a value for each, of a MultiDiscrete for each combination.

    Explores by choosing at random with probability `epsilon`, in each environment on its own. Critics take a choice's
    index.
    """

    def __init__(self, space: Union[Discrete, MultiDiscrete], epsilon: float):
        self.choices = Categoricals(space)
        self.epsilon = epsilon
        self.nvec = self.choices.nvec
        self.width = self.choices.width
        self.head_size = math.prod(self.nvec)

    def argmax(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The index [...] of the highest value that is allowed."""
        if mask is not None:
            output = torch.where(self.allowed(mask), output, -math.inf)
        return output.argmax(-1)

    def mode(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The choices of the highest value, [..., W]."""
        index = self.argmax(output, mask)
        digits: List[Tensor] = []
        for size in self.nvec[::-1]:
            digits.insert(0, index % size)
            index = torch.div(index, size, rounding_mode="floor")
        return torch.stack(digits, -1).to(output.dtype)

    def sample_exploration(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """The choices of the highest value or, with probability epsilon, random ones, [..., W]."""
        at_random = torch.rand_like(output[..., :1]) < self.epsilon
        return torch.where(at_random, self.random(output, mask), self.mode(output, mask))

    def random(self, output: Tensor, mask: Optional[Tensor] = None) -> Tensor:
        """Uniformly random choices [..., W] of those allowed."""
        zeros = output.new_zeros(output.shape[:-1] + (self.choices.head_size,))
        return self.choices.sample(zeros, None, mask)[0]

    def encode(self, action: Tensor) -> Tensor:
        """The index [...] of choices [..., W]."""
        index = 0
        for k, size in enumerate(self.nvec):
            index = index * size + action[..., k].long()
        return index

    def allowed(self, mask: Tensor) -> Tensor:
        """Masks of combinations [..., H] from masks of all choices [..., N]."""
        parts = mask.split(self.nvec, -1)
        result = parts[0]
        for part in parts[1:]:
            result = (result[..., :, None] & part[..., None, :]).flatten(-2)
        return result


def greedy_heads(spec: EnvSpec, epsilon: float, algo: str) -> List[EpsilonGreedyHead]:
    """Each agent's head. Raises ValueError, with the algorithm's name, for continuous actions."""
    heads = []
    for agent, space in zip(spec.agents, spec.actions):
        if isinstance(space, Box):
            raise ValueError(f"algo={algo} needs choices (Discrete, MultiDiscrete); {agent} has {space}")
        heads.append(EpsilonGreedyHead(space, epsilon))
    return heads
