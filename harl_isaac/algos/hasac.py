"""HASAC: heterogeneous-agent soft actor-critic (Liu et al., 2024, "Maximum Entropy Heterogeneous-Agent Reinforcement
Learning"), with a temperature for each agent (Haarnoja et al., 2018).

The value of what follows carries every agent's entropy at its own temperature; the reference implementation has one more
temperature for that, fitted to the sum of the agents' target entropies. As there, only the entropy at the end of n steps
counts.
"""

import math
from dataclasses import dataclass
from typing import Any, Dict, List

import torch
from torch import Tensor, nn

from harl_isaac.buffers.replay import Batch
from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.gradient import adam
from harl_isaac.learning.off_policy import ADAM_EPS, OffPolicyCfg, OffPolicyLearner
from harl_isaac.networks.heads import CategoricalHead, SquashedNormalHead
from harl_isaac.settings import INFINITY, check_ranges


@dataclass
class HasacCfg(OffPolicyCfg):
    """HASAC."""

    name: str = "hasac"
    auto_alpha: bool = True  # fit each agent's temperature to its target entropy
    alpha: float = 1.0  # temperature, where it is fitted its start
    alpha_lr: float = 3e-4
    choice_entropy: float = 0.98  # share of the largest entropy that the temperature of choices aims at

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_ranges(self, (("alpha", 1e-8, INFINITY), ("alpha_lr", 0, INFINITY), ("choice_entropy", 0, 1)))

    def kinds(self, spec: EnvSpec) -> List:
        return [
            SquashedNormalHead(space) if isinstance(space, Box) else CategoricalHead(space, self.choice_entropy)
            for space in spec.actions
        ]

    def learner(self, spec: EnvSpec, seed: int) -> OffPolicyLearner:
        return SoftLearner(spec, self, seed, critics=2)


class SoftLearner(OffPolicyLearner):
    """Actors that ascend the lower of two estimates plus their entropy; there are no target actors."""

    def __init__(self, spec: EnvSpec, cfg: HasacCfg, seed: int = 0, critics: int = 2):
        super().__init__(spec, cfg, seed, critics)
        self.log_alpha = torch.full((spec.num_agents,), math.log(cfg.alpha), device=spec.device)
        self.alpha_optimizers = [
            adam([nn.Parameter(self.log_alpha[i : i + 1])], cfg.alpha_lr, ADAM_EPS) for i in range(spec.num_agents)
        ]

    def next_value(self, batch: Batch) -> Tensor:
        """The lower estimate at the successors plus the entropies there, [B, R]."""
        actions = []
        bonus = 0.0
        alpha = self.log_alpha.exp()
        for i, kind in enumerate(self.actors.kinds):
            head = self.actors.agent(i)(batch.next_obs[i])
            action, log_prob = kind.draw(head, kind.noise(head), batch.next_mask[i])
            actions.append(action)
            bonus = bonus - alpha[i] * log_prob * batch.next_alive[:, i]
        return self.target_critic(self.joint(batch.next_state, actions)).amin(0) + bonus[:, None]

    @torch.no_grad()
    def action(self, i: int, batch: Batch) -> Tensor:
        """A sample of what agent i would do now, encoded [B, F_i]."""
        kind = self.actors.kinds[i]
        head = self.actors.agent(i)(batch.obs[i])
        return kind.draw(head, kind.noise(head), batch.mask[i])[0]

    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Dict[str, Tensor]:
        """A step of agent i against the others' `actions`, then one of its temperature."""
        kind = self.actors.kinds[i]
        alpha = self.log_alpha[i].exp()
        value = i % self.spec.reward_agents
        blank = batch.state.new_empty(len(batch.state), kind.head_size)
        noise = kind.noise(blank)
        mask = batch.mask[i]
        target = kind.target_entropy(blank, mask)

        def rows_of(part):
            head = self.actors.agent(i)(batch.obs[i][part])
            own, log_prob = kind.draw(head, noise[part], None if mask is None else mask[part])
            everybody = [own if j == i else action[part] for j, action in enumerate(actions)]
            worth = self.critic(self.joint(batch.state[part], everybody)).amin(0)[:, value]
            return torch.stack((alpha * log_prob - worth, -log_prob, target[part]), 1)

        means, norm = self.descend(i, batch, rows_of)
        if self.cfg.auto_alpha:
            self._fit_temperature(i, means[1] - means[2], batch)
        return {"loss": means[0], "grad_norm": norm, "entropy": means[1], "alpha": self.log_alpha[i].exp()}

    def state_dict(self) -> Dict[str, Any]:
        return {**super().state_dict(), "log_alpha": self.log_alpha.clone()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        super().load_state_dict(state)
        self.log_alpha.copy_(state["log_alpha"])

    def _fit_temperature(self, i: int, surplus: Tensor, batch: Batch) -> None:
        """A step down log alpha (entropy - target): less of it where there is more entropy than wanted."""
        optimizer = self.alpha_optimizers[i]
        parameter = optimizer.param_groups[0]["params"][0]
        parameter.grad = surplus.reshape(1)
        with self.unless_absent(i, batch, optimizer):
            optimizer.step()

    def _all_optimizers(self) -> List[torch.optim.Optimizer]:
        return [*super()._all_optimizers(), *self.alpha_optimizers]
