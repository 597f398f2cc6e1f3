"""HATRPO: heterogeneous-agent trust region policy optimization (Zhong et al., 2024, Section 3.2.1, Algorithm 3)."""

from dataclasses import dataclass
from typing import Any, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch, RowIndex
from harl_isaac.env import EnvSpec
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import over_threads, sum_over_parts
from harl_isaac.learning.learner import Metrics
from harl_isaac.learning.metrics import living
from harl_isaac.learning.natural_gradient import (
    conjugate_gradient,
    fisher_vector_product,
    flatten,
    line_search,
    trust_region_step,
    unflatten,
)
from harl_isaac.learning.on_policy import OnPolicyLearner
from harl_isaac.learning.on_policy_cfg import OnPolicyCfg
from harl_isaac.networks.actors import Actor
from harl_isaac.settings import INFINITY, MOST_REPEATS, check_ranges


@dataclass
class HatrpoCfg(OnPolicyCfg):
    """Settings of HATRPO: one step of the natural gradient for each agent, on the whole batch."""

    name: str = "hatrpo"
    kl_threshold: float = 0.01  # bound on the mean KL(old, new) of one agent's step
    line_search_steps: int = 10  # lengths tried
    backtrack_coeff: float = 0.8  # of each length to the one before it
    accept_ratio: float = 0.5  # least share of the improvement promised by the gradient
    cg_iterations: int = 10
    damping: float = 0.1  # added to the Fisher matrix's diagonal

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [(name, 0, INFINITY) for name in ("kl_threshold", "damping")])
        check_ranges(self, [(name, 1, MOST_REPEATS) for name in ("line_search_steps", "cg_iterations")])
        check_ranges(self, [(name, 0, 1) for name in ("backtrack_coeff", "accept_ratio")])

    def learner(self, spec: EnvSpec, seed: int) -> "Hatrpo":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Hatrpo(spec, self, seed)


class Hatrpo(OnPolicyLearner):
    """One agent after the other, each by a trust region step on the surrogate with the factor."""

    def update_agent(self, i: int, batch: AgentBatch, advantage: Tensor) -> Metrics:
        """One step of agent i's policy, if the line search finds a good one. See `trust_region_update`."""
        return trust_region_update(self.actors.agent(i), batch, advantage, self.cfg)


def trust_region_update(actor: Actor, batch: AgentBatch, advantage: Tensor, cfg: Any) -> Metrics:
    """One step of one agent; `advantage` [B] is factor x normalized advantage, `cfg` a HatrpoCfg.

    RowIndex where the agent was dead count neither in the surrogate nor in the KL; the reference implementation counts
    them in the KL. All metrics are those of the policy that is kept.
    """
    shards = batch_shards(actor, batch, advantage)
    gradient, surrogate, start = sum_over_parts(BatchShard.gradient, shards)

    def damped_fisher(vector: Tensor) -> Tensor:
        return sum_over_parts(lambda shard: [shard.fisher(vector)], shards)[0] + cfg.damping * vector

    direction, residual = conjugate_gradient(damped_fisher, gradient, cfg.cg_iterations)
    step = trust_region_step(direction, gradient - residual, cfg.kl_threshold)
    expected = gradient @ step
    fraction, (improvement, kl, entropy) = _search(list(actor.parameters()), step, shards, start, expected, cfg)
    return {
        "loss": -(surrogate + improvement),
        "entropy": entropy,
        "grad_norm": gradient.norm(),
        "exact_kl": kl,
        "improvement": improvement,
        "expected_improvement": fraction * expected,
        "step_fraction": fraction,
        "accepted": (fraction > 0.0).to(kl.dtype),
    }


class BatchShard:
    """Some rows of an agent's batch and one forward pass of the policy to improve, whose graph serves all derivatives.

    `weight` [B] is alive / number of living rows of the whole batch, so that the shards' results add up to means.
    """

    def __init__(self, actor: Actor, batch: AgentBatch, weight: Tensor, advantage: Tensor):
        self.actor = actor
        self.batch = batch
        self.weight = weight
        self.weighted = weight * advantage
        self.parameters = list(actor.parameters())
        outputs = self._outputs()
        self.ratio, self.entropy = self._ratio_and_entropy(outputs[0])
        self.old = [output.detach().clone() for output in outputs]
        self.fisher = fisher_vector_product(outputs, self.parameters, self._kl)

    def gradient(self) -> List[Tensor]:
        """The surrogate's gradient [P], the surrogate [], and the report [3] of a trial that moves nothing."""
        surrogate = (self.weighted * self.ratio).sum()
        zero = torch.zeros_like(self.entropy)
        gradient = flatten(torch.autograd.grad(surrogate, self.parameters, retain_graph=True))
        return [gradient, surrogate.detach(), torch.stack((zero, zero, self.entropy)).detach()]

    @torch.no_grad()
    def trial(self) -> List[Tensor]:
        """Improvement of the surrogate, KL(old, new) and entropy [3] with the actor's current parameters."""
        outputs = self._outputs()
        ratio, entropy = self._ratio_and_entropy(outputs[0])
        improvement = (self.weighted * (ratio - self.ratio)).sum()
        return [torch.stack((improvement, self._kl(*outputs), entropy))]

    def _outputs(self) -> List[Tensor]:
        """The distribution's parameters: the head [B, H] and for a Box the learned scale [W]."""
        head = self.actor.head(self.batch.obs, self.batch.sequence)
        log_std = self.actor.log_std
        return [head] if log_std is None else [head, log_std]

    def _ratio_and_entropy(self, head: Tensor) -> Tuple[Tensor, Tensor]:
        """Ratio to the policy that acted [B] and mean entropy []."""
        log_prob, entropy = self.actor.log_prob_and_entropy(head, self.batch.action, self.batch.mask)
        return self.batch.ratio(log_prob), (self.weight * entropy).sum()

    def _kl(self, head: Tensor, log_std: Optional[Tensor] = None) -> Tensor:
        """Mean KL(old, new) []."""
        old_log_std = self.old[1] if len(self.old) > 1 else None
        kl = self.actor.distribution.kl(self.old[0], old_log_std, head, log_std, self.batch.mask)
        return (self.weight * kl).sum()


def batch_shards(actor: Actor, batch: AgentBatch, advantage: Tensor) -> List[BatchShard]:
    """Shards of a batch that fit a core's cache, each made by the thread that works on it."""
    rows = batch.obs.shape[0]
    weight = batch.alive / living(batch.alive)
    parts = chunks(slice(0, rows), rows, batch.obs.device, actor.net.width, batch.alive[0].numel())

    def make(share: List[RowIndex]) -> List[BatchShard]:
        return [BatchShard(actor, batch.rows(part), weight[part], advantage[part]) for part in share]

    return [shard for shards in over_threads(make, parts) for shard in shards]


@torch.no_grad()
def _search(
    parameters: List[Tensor], step: Tensor, shards: List[BatchShard], start: Tensor, expected: Tensor, cfg: Any
) -> Tuple[Tensor, Tensor]:
    """Line search in the parameters' own memory; leaves them at the accepted fraction or bitwise where they were."""
    old = [parameter.clone() for parameter in parameters]
    steps = unflatten(step, parameters)

    def trial(fraction: float) -> Tensor:
        for parameter, before, change in zip(parameters, old, steps):
            parameter.copy_(before + fraction * change)
        return sum_over_parts(BatchShard.trial, shards)[0]

    fractions = [cfg.backtrack_coeff**j for j in range(cfg.line_search_steps)]
    fraction, report = line_search(trial, start, expected, cfg.kl_threshold, cfg.accept_ratio, fractions)
    for parameter, before, change in zip(parameters, old, steps):
        parameter.copy_(torch.where(fraction > 0.0, before + fraction * change, before))
    return fraction, report
