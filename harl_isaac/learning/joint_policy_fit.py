"""Fitting the policies of all agents at once: what MAPPO, MAA2C and IPPO do where each agent has its own network.

The same gradient steps as one agent after the other, since none of them depends on another's: their passes and steps
are batched, which pays where agents are many and rows are few. A permutation of rows is drawn for all agents at once.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import Rollout, RowIndex
from harl_isaac.env import Box
from harl_isaac.learning.batching import minibatches
from harl_isaac.learning.joint_step import JointStep, joint_parts
from harl_isaac.learning.metrics import alive_mean_of_each, living_of_each
from harl_isaac.learning.sequential import ByAgent, UpdateAgent, agent_advantages, trust_metrics
from harl_isaac.networks.actors import StackedActors


@dataclass
class JointBatch:
    """The rows of a rollout with all agents side by side, padded to the widest; `obs` are standardized."""

    obs: Tensor  # [A, B, O]
    action: Tensor  # [B, A, W]
    log_prob: Tensor  # [B, A] or, per dimension, [B, A, W]
    alive: Tensor  # [B, A]
    mask: Optional[Tensor]  # [B, A, N]


def joint_batch(actors: StackedActors, rollout: Rollout) -> JointBatch:
    """A rollout's rows for all agents together."""
    return JointBatch(
        obs=actors.networks.standardized(rollout.obs.flatten(0, 1).transpose(0, 1)),
        action=rollout.action.flatten(0, 1),
        log_prob=rollout.log_prob.flatten(0, 1),
        alive=rollout.alive.flatten(0, 1),
        mask=None if rollout.mask is None else rollout.mask.flatten(0, 1),
    )


def ratios_of(actors: StackedActors, batch: JointBatch, part: RowIndex) -> Tuple[Tensor, Tensor]:
    """Probability ratios and entropies [b, A] of a part of the rows, with the policies as they are."""
    outputs = actors.networks.run(batch.obs[:, part], standardized=True).transpose(0, 1)
    mask = None if batch.mask is None else batch.mask[part]
    return actors.ratios(outputs, batch.action[part], batch.log_prob[part], mask)


@dataclass
class JointPolicyLoss:
    """The sum of all agents' losses: of each minus the surrogate and the entropy bonus, means over its living rows."""

    actors: StackedActors
    batch: JointBatch
    advantage: Tensor  # [B, A]
    surrogate: Callable[[Tensor, Tensor], Tensor]  # the algorithm's: (ratio [n], advantage [n]) -> loss [n]
    entropy_coef: float
    living: Tensor  # [A] rows of the minibatch where each agent was alive, at least 1

    def __call__(self, part: RowIndex) -> Tuple[Tensor, Tensor]:
        """The part's share of the loss [], and the agents' summed surrogates and entropies [2, A]."""
        ratio, entropy = ratios_of(self.actors, self.batch, part)
        alive = self.batch.alive[part]
        advantage = self.advantage[part]
        surrogate = self.surrogate(ratio.flatten(), advantage.flatten()).view_as(ratio)
        losses = (surrogate * alive).sum(0)
        bonus = (entropy * alive).sum(0)
        report = torch.stack((losses, bonus)).detach()
        if self.entropy_coef > 0.0:
            losses = losses - self.entropy_coef * bonus
        return (losses / self.living).sum(), report


class JointPolicyFit:
    """The simultaneous scheme for networks of the agents' own, batched (see learning/sequential.py).

    `learner` is a FirstOrderLearner.
    """

    def __init__(self, learner: Any):
        self.learner = learner
        actors = learner.actors
        blocks = actors.networks.blocks()
        if any(isinstance(space, Box) for space in actors.spec.actions):
            blocks.append(actors.log_std)
        self.optimizers = {i: learner.optimizers[i] for i in learner.trained}
        self.step = JointStep(blocks, list(self.optimizers.values()))

    def __call__(
        self, actors: StackedActors, rollout: Rollout, advantage: Tensor, order: Sequence[int], _: UpdateAgent
    ) -> Tuple[ByAgent, Tensor]:
        """Update all agents at once; returns the metrics of those in `order`, and a factor of one [B]."""
        own = agent_advantages(rollout, advantage)
        batch = joint_batch(actors, rollout)
        with self.learner.skip_dead(batch.alive, self.optimizers):
            numbers = self._fit(batch, torch.stack(own, 1))
        numbers.update(trust_metrics(self._ratios_now(batch), batch.alive, alive_mean_of_each))
        return {i: {name: value[i] for name, value in numbers.items()} for i in order}, torch.ones_like(own[0])

    def _fit(self, batch: JointBatch, advantage: Tensor) -> Dict[str, Tensor]:
        """Passes of gradient steps; returns metrics [A] of each agent."""
        learner = self.learner
        cfg = learner.cfg
        rows, agents = batch.alive.shape
        device = batch.obs.device
        for _ in range(cfg.epochs):
            total = torch.zeros(2, agents, device=device)
            for index in minibatches(rows, cfg.minibatches, device):
                living = living_of_each(batch.alive[index])
                loss = JointPolicyLoss(learner.actors, batch, advantage, learner.surrogate, cfg.entropy_coef, living)
                parts = joint_parts(index, rows // cfg.minibatches, learner.actors.networks, device)
                report, norm = self.step(loss, parts, cfg.max_grad_norm)
                total += report
        mean = total / living_of_each(batch.alive)
        return {"loss": mean[0], "entropy": mean[1], "grad_norm": norm}

    @torch.no_grad()
    def _ratios_now(self, batch: JointBatch) -> Tensor:
        """pi_new(a|o) / pi_old(a|o) with the current parameters, [B, A]."""
        rows = len(batch.alive)
        parts = joint_parts(slice(0, rows), rows, self.learner.actors.networks, batch.obs.device)
        return torch.cat([ratios_of(self.learner.actors, batch, part)[0] for part in parts])
