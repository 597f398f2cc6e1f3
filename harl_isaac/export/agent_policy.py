"""The function that is exported: raw observations in, the environment's actions out."""

from dataclasses import replace
from typing import Any, Callable, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor, nn

from harl_isaac.acting import bounds, to_env
from harl_isaac.env import Box, EnvSpec, action_width, mask_width
from harl_isaac.export.networks import Part
from harl_isaac.networks.distributions import Categoricals, Gaussian
from harl_isaac.networks.heads import (
    LOG_STD,
    CategoricalHead,
    DeterministicHead,
    EpsilonGreedyHead,
    SquashedNormalHead,
)

Parameters = Tuple[Tensor, ...]


class Distribution(NamedTuple):
    """Parameters that an exported policy gives beside its action."""

    names: Tuple[str, ...]
    meaning: str
    compute: Callable[["AgentPolicy", Tensor, Optional[Tensor]], Parameters]  # of the output [B, K] and the mask


class AgentPolicy(nn.Module):
    """The deterministic policy of a part: raw obs [B, O], mask [B, N] bool, hidden [B, H] to actions [B, W].

    Several agents' values stand side by side. Inputs and outputs are those of `input_names` and `output_names`.
    """

    def __init__(self, part: Part, spec: EnvSpec, distribution: bool = False):
        super().__init__()
        own = [spec.actions[i] for i in part.agents]
        self.part = part
        self.spec = replace(
            spec,
            agents=tuple(spec.agents[i] for i in part.agents),
            obs_sizes=tuple(spec.obs_sizes[i] for i in part.agents),
            actions=tuple(own),
        )
        self.network = part.network
        self.head = part.head
        self.widths = [action_width(space) for space in own]
        self.obs_size = sum(self.spec.obs_sizes)
        self.mask_size = sum(mask_width(space) for space in own) if spec.has_action_mask else 0
        self.hidden_size = int(getattr(part.network, "hidden_size", 0))
        self.distribution = DISTRIBUTIONS[type(part.head)] if distribution else None
        ranges = [bounds(space, torch.device("cpu")) for space in own if isinstance(space, Box)]
        low, high = map(torch.cat, zip(*ranges)) if ranges else (torch.zeros(0), torch.zeros(0))
        self.register_buffer("half_range", (high - low) / 2)
        self.register_buffer("middle", (high + low) / 2)
        self.register_buffer("std", torch.zeros(0) if part.std is None else part.std)

    @property
    def input_names(self) -> List[str]:
        """Names of the inputs, in their order."""
        return ["obs"] + ["mask"] * bool(self.mask_size) + ["hidden"] * bool(self.hidden_size)

    @property
    def output_names(self) -> List[str]:
        """Names of the outputs, in their order."""
        names = ["action"] + ["next_hidden"] * bool(self.hidden_size)
        return names + list(self.distribution.names if self.distribution else ())

    def forward(self, *inputs: Tensor) -> Tuple[Tensor, ...]:
        """The outputs."""
        given = dict(zip(self.input_names, inputs))
        mask = given.get("mask")
        output, hidden = self.network(given["obs"], given.get("hidden"))
        results = [self.in_units(self.head.mode(output, mask))]
        if hidden is not None:
            results.append(hidden)
        if self.distribution is not None:
            results += self.distribution.compute(self, output, mask)
        return tuple(results)

    def in_units(self, action: Tensor) -> Tensor:
        """The policy's actions [B, W], side by side, in the environment's units, bounds and type."""
        own = action.split(self.widths, 1)
        widest = max(self.widths)
        padded = [torch.nn.functional.pad(each, (0, widest - each.shape[1])) for each in own]
        return torch.cat(to_env(self.spec, torch.stack(padded, 1)), 1)

    def scores(self, output: Tensor, mask: Optional[Tensor]) -> List[Tensor]:
        """Values or log-probabilities of choices [B, n], those of each choice that is made; none for a Box."""
        if isinstance(self.head, EpsilonGreedyHead):
            if mask is not None:
                output = torch.where(self.head.allowed(mask), output, -torch.inf)
            return [output]
        choices = getattr(self.head, "distribution", self.head)
        return choices.log_probs_of_choices(output, mask) if isinstance(choices, Categoricals) else []

    def chosen(self, action: Tensor) -> List[Tensor]:
        """Indices [B] into `scores` of actions [B, W]."""
        if isinstance(self.head, EpsilonGreedyHead):
            return [self.head.encode(action)]
        return list(action.unbind(1))


def _normal(policy: AgentPolicy, output: Tensor, mask: Optional[Tensor]) -> Parameters:
    mean = output * policy.half_range + policy.middle
    return mean, torch.ones_like(mean) * (policy.std * policy.half_range)


def _squashed(policy: AgentPolicy, output: Tensor, mask: Optional[Tensor]) -> Parameters:
    mean, log_std = output.split(policy.head.width, 1)
    return mean, log_std.clamp(*LOG_STD).exp()


def _choices(policy: AgentPolicy, output: Tensor, mask: Optional[Tensor]) -> Parameters:
    return (torch.cat(policy.scores(output, mask), 1),)


def _nothing(policy: AgentPolicy, output: Tensor, mask: Optional[Tensor]) -> Parameters:
    return ()


LOG_PROBS = Distribution(
    ("log_prob",), "log-probabilities of the choices, those of several heads one behind the other", _choices
)
DISTRIBUTIONS: Dict[Any, Distribution] = {
    Gaussian: Distribution(
        ("mean", "std"), "a normal, in the action's units: draw, then clip to the action's bounds", _normal
    ),
    SquashedNormalHead: Distribution(
        ("mean", "std"), "a normal: draw, take the tanh, which maps [-1, 1] to the action's bounds", _squashed
    ),
    Categoricals: LOG_PROBS,
    CategoricalHead: LOG_PROBS,
    EpsilonGreedyHead: Distribution(
        ("value",), "values of the choices, of several heads those of each combination, the last head fastest", _choices
    ),
    DeterministicHead: Distribution((), "none: the action is certain", _nothing),
}
