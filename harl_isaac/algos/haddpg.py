"""HADDPG: heterogeneous-agent deep deterministic policy gradient (Zhong et al., 2024, Section 3.5.2, Algorithm 6)."""

import copy
from dataclasses import dataclass
from typing import Dict, List

import torch
from torch import Tensor

from harl_isaac.buffers.replay import Batch
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.joint_actor_step import JointActorStep
from harl_isaac.learning.learner import Metrics
from harl_isaac.learning.off_policy import OffPolicyLearner
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg
from harl_isaac.networks.heads import DeterministicHead
from harl_isaac.settings import INFINITY, check_ranges


@dataclass
class HaddpgCfg(OffPolicyCfg):
    """Settings of HADDPG."""

    name: str = "haddpg"
    expl_noise: float = 0.1  # deviation of the noise on actions while collecting, in half-ranges

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("expl_noise", 0, INFINITY)])

    def heads(self, spec: EnvSpec) -> List[DeterministicHead]:
        """Each agent's policy head. Raises ValueError for agents whose actions are choices."""
        heads = []
        for agent, space in zip(spec.agents, spec.actions):
            if not isinstance(space, Box):
                raise ValueError(f"algo={self.name} needs continuous actions (Box); {agent} has {space}")
            heads.append(DeterministicHead(space, self.expl_noise))
        return heads

    def learner(self, spec: EnvSpec, seed: int) -> "Haddpg":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Haddpg(spec, self, seed)


class Haddpg(OffPolicyLearner):
    """Actors that ascend the first critic's estimate."""

    def __init__(self, spec: EnvSpec, cfg: HaddpgCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.target_actors = copy.deepcopy(self.actors)
        self.targets.append((self.target_actors, self.actors))
        own_step = type(self).fit_actor is not Haddpg.fit_actor  # a derived algorithm's
        together = self.actors.fuses and not self.sequential and not own_step
        self.joint_step = JointActorStep(self) if together else None

    def next_value(self, batch: Batch) -> Tensor:
        """Target value of the next states, [B, R]; minimum over critics."""
        actions = [self.target_action(i, batch) for i in range(self.spec.num_agents)]
        return self.target_critic(self.joint(batch.next_state, actions)).amin(0)

    def target_action(self, i: int, batch: Batch) -> Tensor:
        """Action of agent i's target network in the next states, [B, W_i]."""
        return torch.tanh(self.target_actors.agent(i)(batch.next_obs[i]))

    @torch.no_grad()
    def action(self, i: int, batch: Batch) -> Tensor:
        """Agent i's current action, [B, W_i]."""
        return torch.tanh(self.actors.agent(i)(batch.obs[i]))

    def fit_actors(self, batch: Batch) -> Dict[int, Metrics]:
        """One step of each agent; in one pass where they do not depend on each other."""
        if self.joint_step is None:
            return super().fit_actors(batch)
        return self.joint_step(batch, self.trained)

    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Metrics:
        """One step of agent i against the others' `actions`."""
        value = i % self.spec.reward_agents  # its own where each agent has a reward

        def rows_of(part: RowIndex) -> Tensor:
            own = torch.tanh(self.actors.agent(i)(batch.obs[i][part]))
            everybody = [own if j == i else action[part] for j, action in enumerate(actions)]
            return -self.critic.first(self.joint(batch.state[part], everybody))[:, value : value + 1]

        means, norm = self.actor_step(i, batch, rows_of)
        return {"loss": means[0], "grad_norm": norm}
