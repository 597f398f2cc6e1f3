"""HATRPO: heterogeneous-agent trust region policy optimization (Zhong et al., 2024, Section 3.2.1, Algorithm 3)."""

from dataclasses import dataclass
from typing import Dict, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch
from harl_isaac.env import EnvSpec
from harl_isaac.learning.gradient import chunks, over_threads, summed
from harl_isaac.learning.natural_gradient import (
    conjugate_gradient,
    fisher_vector_product,
    flatten,
    line_search,
    trust_region_step,
    unflatten,
)
from harl_isaac.learning.on_policy import OnPolicyCfg, OnPolicyLearner
from harl_isaac.networks.actors import Actor
from harl_isaac.settings import INFINITY, check_ranges


@dataclass
class HatrpoCfg(OnPolicyCfg):
    """HATRPO: one step of the natural gradient for each agent, on the whole batch."""

    name: str = "hatrpo"
    kl_threshold: float = 0.01  # bound on the mean KL(old, new) of one agent's step
    line_search_steps: int = 10  # lengths tried
    backtrack_coeff: float = 0.8  # of each length to the one before it
    accept_ratio: float = 0.5  # least share of the improvement promised by the gradient
    cg_iterations: int = 10
    damping: float = 0.1  # added to the Fisher matrix's diagonal

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_ranges(
            self,
            (
                ("kl_threshold", 0, INFINITY),
                ("line_search_steps", 1, INFINITY),
                ("backtrack_coeff", 0, 1),
                ("accept_ratio", 0, 1),
                ("cg_iterations", 1, INFINITY),
                ("damping", 0, INFINITY),
            ),
        )

    def learner(self, spec: EnvSpec, seed: int) -> OnPolicyLearner:
        return OnPolicyLearner(spec, self, update_agent, seed)


def update_agent(
    actor: Actor, optimizer: torch.optim.Optimizer, batch: AgentBatch, advantage: Tensor, cfg: HatrpoCfg
) -> Dict[str, Tensor]:
    """One step of one agent, if the line search finds a good one; advantage [B] is factor x normalized advantage.

    Needs no optimizer. Rows where the agent was dead count neither in the surrogate nor in the KL; the reference
    implementation counts them in the KL. All metrics are those of the policy that is kept.
    """
    rows = batch.obs.shape[0]
    parameters = list(actor.parameters())
    weight = batch.alive / batch.alive.sum().clamp(min=1.0)
    parts = chunks(slice(0, rows), rows, batch.obs.device, batch.alive[0].numel())
    shares = sum(
        over_threads(
            lambda own: [Share(actor, batch.rows(part), weight[part], advantage[part]) for part in own], parts
        ),
        [],
    )
    gradient, surrogate, start = summed(Share.gradient, shares)

    def damped_fisher(vector: Tensor) -> Tensor:
        return summed(lambda share: [share.fisher(vector)], shares)[0] + cfg.damping * vector

    direction, missing = conjugate_gradient(damped_fisher, gradient, cfg.cg_iterations)
    step = trust_region_step(direction, gradient - missing, cfg.kl_threshold)
    expected = gradient @ step
    fraction, kept = _search(parameters, step, shares, start, expected, cfg)
    improvement, kl, entropy = kept
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


class Share:
    """Some rows of an agent's batch and one forward pass of the policy to improve, whose graph serves all derivatives.

    `weight` [B] is alive / number of living rows of the whole batch, so that what the shares find adds up to means.
    """

    def __init__(self, actor: Actor, batch: AgentBatch, weight: Tensor, advantage: Tensor):
        self.actor = actor
        self.batch = batch
        self.weight = weight
        self.weighted = weight * advantage
        self.parameters = list(actor.parameters())
        outputs = self._outputs()
        self.ratio, self.entropy = self._judge(outputs[0])
        self.old = [output.detach().clone() for output in outputs]
        self.fisher = fisher_vector_product(outputs, self.parameters, self._kl)

    def gradient(self) -> List[Tensor]:
        """The surrogate's gradient [P], the surrogate [], and the report [3] of a trial that moves nothing."""
        surrogate = (self.weighted * self.ratio).sum()
        nothing = torch.zeros_like(self.entropy)
        found = flatten(torch.autograd.grad(surrogate, self.parameters, retain_graph=True))
        return [found, surrogate.detach(), torch.stack((nothing, nothing, self.entropy)).detach()]

    @torch.no_grad()
    def trial(self) -> List[Tensor]:
        """Improvement of the surrogate, KL(old, new) and entropy [3] with the actor's parameters of now."""
        outputs = self._outputs()
        ratio, entropy = self._judge(outputs[0])
        improvement = (self.weighted * (ratio - self.ratio)).sum()
        return [torch.stack((improvement, self._kl(*outputs), entropy))]

    def _outputs(self) -> List[Tensor]:
        """What the distribution is made of: the head [B, H] and for a Box the learned scale [W]."""
        head = self.actor.head(self.batch.obs, self.batch.memory)
        log_std = self.actor.log_std
        return [head] if log_std is None else [head, log_std]

    def _judge(self, head: Tensor) -> Tuple[Tensor, Tensor]:
        """Ratio to the policy that acted [B] and mean entropy []."""
        log_prob, entropy = self.actor.log_prob_and_entropy(head, self.batch.action, self.batch.mask)
        return self.batch.ratio(log_prob), (self.weight * entropy).sum()

    def _kl(self, head: Tensor, log_std: Optional[Tensor] = None) -> Tensor:
        old_head, old_log_std = (self.old + [None])[:2]
        kl = self.actor.distribution.kl(old_head, old_log_std, head, log_std, self.batch.mask)
        return (self.weight * kl).sum()


@torch.no_grad()
def _search(
    parameters: List[Tensor], step: Tensor, shares: List[Share], start: Tensor, expected: Tensor, cfg: HatrpoCfg
) -> Tuple[Tensor, Tensor]:
    """The line search, in the parameters' own memory; leaves them at the accepted fraction or bitwise where they were."""
    old = [parameter.clone() for parameter in parameters]
    steps = unflatten(step, parameters)

    def trial(fraction: float) -> Tensor:
        for parameter, before, change in zip(parameters, old, steps):
            parameter.copy_(before + fraction * change)
        return summed(Share.trial, shares)[0]

    fractions = [cfg.backtrack_coeff**j for j in range(cfg.line_search_steps)]
    fraction, kept = line_search(trial, start, expected, cfg.kl_threshold, cfg.accept_ratio, fractions)
    for parameter, before, change in zip(parameters, old, steps):
        parameter.copy_(torch.where(fraction > 0.0, before + fraction * change, before))
    return fraction, kept
