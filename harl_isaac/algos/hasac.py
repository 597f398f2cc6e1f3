"""HASAC: heterogeneous-agent soft actor-critic (Liu et al., 2024, "Maximum Entropy Heterogeneous-Agent Reinforcement
Learning"), with a temperature for each agent (Haarnoja et al., 2018).

The value of the next states carries every agent's entropy at its own temperature; the reference implementation has one
more temperature for that, fitted to the sum of the agents' target entropies. As there, only the entropy at the end of n
steps counts.
"""

import math
from dataclasses import dataclass
from typing import Any, Dict, List, Union

import torch
from torch import Tensor, nn

from harl_isaac.buffers.replay import Batch
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.learner import Metrics
from harl_isaac.learning.off_policy import ADAM_EPS, OffPolicyLearner
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg
from harl_isaac.learning.optimizers import Optimizer, adam
from harl_isaac.networks.heads import CategoricalHead, SquashedNormalHead
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.networks.off_policy_nets import (
    SAME,
    FeedForward,
    NetworkFactory,
    normalized_network,
    with_last_activation,
)
from harl_isaac.settings import INFINITY, check_choices, check_ranges

CHOICE_NETWORKS: Dict[str, NetworkFactory] = {"plain": FeedForward, "normalized": normalized_network}


@dataclass
class HasacCfg(OffPolicyCfg):
    """Settings of HASAC."""

    name: str = "hasac"
    auto_alpha: bool = True  # fit each agent's temperature to its target entropy
    alpha: float = 1.0  # temperature, where it is fitted its start
    alpha_lr: float = 3e-4
    choice_entropy: float = 0.98  # target entropy of choices, as a share of the largest
    last_activation: str = SAME  # of the last hidden layer of continuous policies; same: as the layers before
    choice_network: str = "plain"  # of policies of choices: plain, normalized (LayerNorms, orthogonal weights)

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("alpha", 1e-8, INFINITY), ("alpha_lr", 0, INFINITY), ("choice_entropy", 0, 1)])
        check_choices("algo", self, [("last_activation", (SAME, *ACTIVATIONS)), ("choice_network", CHOICE_NETWORKS)])

    def heads(self, spec: EnvSpec) -> List[Union[SquashedNormalHead, CategoricalHead]]:
        """Each agent's policy head."""
        heads: List[Union[SquashedNormalHead, CategoricalHead]] = []
        for space in spec.actions:
            if isinstance(space, Box):
                heads.append(SquashedNormalHead(space))
            else:
                heads.append(CategoricalHead(space, self.choice_entropy))
        return heads

    def networks(self, spec: EnvSpec) -> List[NetworkFactory]:
        """The kind of each agent's network; the reference implementation's are tanh and normalized."""
        continuous = with_last_activation(self.last_activation)
        choices = CHOICE_NETWORKS[self.choice_network]
        return [continuous if isinstance(space, Box) else choices for space in spec.actions]

    def learner(self, spec: EnvSpec, seed: int) -> "Hasac":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Hasac(spec, self, seed)


class Hasac(OffPolicyLearner):
    """Actors that ascend the lower of two estimates plus their entropy; there are no target actors."""

    num_critics = 2

    def __init__(self, spec: EnvSpec, cfg: HasacCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.log_alpha = torch.full((spec.num_agents,), math.log(cfg.alpha), device=spec.device)  # [A]
        self.alpha_optimizers = []
        for i in range(spec.num_agents):
            parameter = nn.Parameter(self.log_alpha[i : i + 1])  # shares the memory of log_alpha
            self.alpha_optimizers.append(adam([parameter], cfg.alpha_lr, ADAM_EPS))

    def next_value(self, batch: Batch) -> Tensor:
        """Target value of the next states plus the entropies there, [B, R]; minimum over critics."""
        actions = []
        bonus = torch.zeros((), device=self.spec.device)
        alpha = self.log_alpha.exp()
        for i, head in enumerate(self.actors.heads):
            output = self.actors.agent(i)(batch.next_obs[i])
            action, log_prob = head.rsample(output, head.noise(output), batch.next_mask[i])
            actions.append(action)
            bonus = bonus - alpha[i] * log_prob * batch.next_alive[:, i]
        return self.target_critic(self.joint(batch.next_state, actions)).amin(0) + bonus[:, None]

    @torch.no_grad()
    def action(self, i: int, batch: Batch) -> Tensor:
        """A sample of agent i's current policy, encoded [B, F_i]."""
        head = self.actors.heads[i]
        output = self.actors.agent(i)(batch.obs[i])
        return head.rsample(output, head.noise(output), batch.mask[i])[0]

    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Metrics:
        """One step of agent i against the others' `actions`, then one of its temperature."""
        head = self.actors.heads[i]
        alpha = self.log_alpha[i].exp()
        value = i % self.spec.reward_agents  # its own where each agent has a reward
        like_output = batch.state.new_empty(len(batch.state), head.head_size)
        noise = head.noise(like_output)
        mask = batch.mask[i]
        target = head.target_entropy(like_output, mask)

        def rows_of(part: RowIndex) -> Tensor:
            output = self.actors.agent(i)(batch.obs[i][part])
            own, log_prob = head.rsample(output, noise[part], None if mask is None else mask[part])
            everybody = [own if j == i else action[part] for j, action in enumerate(actions)]
            q = self.critic(self.joint(batch.state[part], everybody)).amin(0)[:, value]
            return torch.stack((alpha * log_prob - q, -log_prob, target[part]), 1)

        means, norm = self.actor_step(i, batch, rows_of)
        if self.cfg.auto_alpha:
            self._fit_temperature(i, means[1] - means[2], batch)
        return {"loss": means[0], "grad_norm": norm, "entropy": means[1], "alpha": self.log_alpha[i].exp()}

    def all_optimizers(self) -> List[Optimizer]:
        """Those of actors and critic, then the temperatures'."""
        return [*super().all_optimizers(), *self.alpha_optimizers]

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly, without the replay."""
        return {**super().state_dict(), "log_alpha": self.log_alpha.clone()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        super().load_state_dict(state)
        self.log_alpha.copy_(state["log_alpha"])

    def _fit_temperature(self, i: int, surplus: Tensor, batch: Batch) -> None:
        """One step down log alpha (entropy - target): lower where there is more entropy than the target."""
        optimizer = self.alpha_optimizers[i]
        parameter = optimizer.param_groups[0]["params"][0]
        parameter.grad = surplus.reshape(1)
        with self.skip_if_dead(batch.alive[:, i], optimizer):
            optimizer.step()
