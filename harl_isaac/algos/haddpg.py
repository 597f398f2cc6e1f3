"""HADDPG: heterogeneous-agent deep deterministic policy gradient (Zhong et al., 2024, Section 3.5.2, Algorithm 6)."""

import copy
from dataclasses import dataclass
from typing import Dict, List

import torch
from torch import Tensor

from harl_isaac.buffers.replay import Batch
from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.off_policy import OffPolicyCfg, OffPolicyLearner
from harl_isaac.networks.heads import DeterministicHead


@dataclass
class HaddpgCfg(OffPolicyCfg):
    """HADDPG."""

    name: str = "haddpg"
    expl_noise: float = 0.1  # deviation of the noise on actions while collecting, in half-ranges

    def kinds(self, spec: EnvSpec) -> List[DeterministicHead]:
        """Raises ValueError for agents whose actions are choices."""
        for agent, space in zip(spec.agents, spec.actions):
            if not isinstance(space, Box):
                raise ValueError(f"algo={self.name} needs continuous actions (Box); {agent} has {space}")
        return [DeterministicHead(space, self.expl_noise) for space in spec.actions]

    def learner(self, spec: EnvSpec, seed: int) -> OffPolicyLearner:
        return DeterministicLearner(spec, self, seed)


class DeterministicLearner(OffPolicyLearner):
    """Actors that ascend the first critic's estimate."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.target_actors = copy.deepcopy(self.actors)
        self.followers.append((self.target_actors, self.actors))

    def next_value(self, batch: Batch) -> Tensor:
        """What the target networks expect of the successors, [B, R]: of several estimates the lowest."""
        actions = [self.target_action(i, batch) for i in range(self.spec.num_agents)]
        return self.target_critic(self.joint(batch.next_state, actions)).amin(0)

    def target_action(self, i: int, batch: Batch) -> Tensor:
        """What agent i's target does at the successors, [B, W_i]."""
        return torch.tanh(self.target_actors.agent(i)(batch.next_obs[i]))

    @torch.no_grad()
    def action(self, i: int, batch: Batch) -> Tensor:
        """What agent i would do now, [B, W_i]."""
        return torch.tanh(self.actors.agent(i)(batch.obs[i]))

    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Dict[str, Tensor]:
        """A step of agent i against the others' `actions`."""
        value = i % self.spec.reward_agents  # its own where each agent has a reward

        def rows_of(part):
            own = torch.tanh(self.actors.agent(i)(batch.obs[i][part]))
            everybody = [own if j == i else action[part] for j, action in enumerate(actions)]
            return -self.critic.first(self.joint(batch.state[part], everybody))[:, value : value + 1]

        means, norm = self.descend(i, batch, rows_of)
        return {"loss": means[0], "grad_norm": norm}
