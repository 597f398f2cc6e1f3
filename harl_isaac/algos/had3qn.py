"""HAD3QN: a value-based approximation to HADDPG for choices (Zhong et al., 2024, Appendix I, Algorithm 8).

A central dueling critic has a value for every joint action; each agent's own dueling network learns the critic's
values of its choices, beside the newest choices of the agents before it and the greedy ones of those after it. The
agents' targets choose the next actions, the critic's target values them (double Q-learning). All allowed choices of
an agent are learned from a transition; in the reference implementation it is one.
"""

import copy
import math
from dataclasses import dataclass
from typing import List

import torch
from torch import Tensor, nn

from harl_isaac.buffers.replay import Batch
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.env import EnvSpec
from harl_isaac.learning.learner import Metrics
from harl_isaac.learning.off_policy import OffPolicyLearner
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg
from harl_isaac.networks.dueling import DuelingMLP, JointActionQ
from harl_isaac.networks.heads import EpsilonGreedyHead, greedy_heads
from harl_isaac.networks.off_policy_nets import FeedForward, NetworkFactory
from harl_isaac.settings import check_ranges

MAX_JOINT_ACTIONS = 2**20  # their indices are exact in float32 up to 2^24


@dataclass
class Had3qnCfg(OffPolicyCfg):
    """Settings of HAD3QN."""

    name: str = "had3qn"
    epsilon: float = 0.05  # probability of a random choice while collecting
    dueling: bool = True  # values are made of a state's and an advantage's; else plain networks (Figure 14)

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("epsilon", 0, 1)])

    def heads(self, spec: EnvSpec) -> List[EpsilonGreedyHead]:
        """Each agent's policy head. Raises ValueError for continuous actions, and for too many joint ones."""
        heads = greedy_heads(spec, self.epsilon, self.name)
        if math.prod(head.head_size for head in heads) > MAX_JOINT_ACTIONS:
            sizes = " x ".join(str(head.head_size) for head in heads)
            raise ValueError(
                f"algo={self.name} has a value for each of {sizes} joint actions, more than {MAX_JOINT_ACTIONS}; "
                "use algo=hasac"
            )
        return heads

    def networks(self, spec: EnvSpec) -> List[NetworkFactory]:
        """Dueling or plain networks."""
        return [self.network] * spec.num_agents

    @property
    def network(self) -> NetworkFactory:
        """The kind of the agents' networks and the critic's."""
        return DuelingMLP if self.dueling else FeedForward

    def learner(self, spec: EnvSpec, seed: int) -> "Had3qn":
        """A new learner. Raises ValueError for settings that cannot run."""
        return Had3qn(spec, self, seed)


class Had3qn(OffPolicyLearner):
    """Actions are indices of each agent's choices, [B]. Where each agent has a reward, all learn from the mean."""

    def __init__(self, spec: EnvSpec, cfg: Had3qnCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.target_actors = copy.deepcopy(self.actors)
        self.targets.append((self.target_actors, self.actors))

    def new_critic(self) -> nn.Module:
        """The value of every joint action."""
        spec = self.spec
        cfg = self.cfg
        sizes = [head.head_size for head in self.actors.heads]
        inputs = spec.state_agents * spec.state_size
        return JointActionQ(inputs, cfg.hidden, sizes, cfg.activation, cfg.layer_norm, spec.device, cfg.network)

    def joint(self, state: Tensor, actions: List[Tensor]) -> Tensor:
        """States with the joint action's index beside them, [B, S + 1]."""
        return torch.cat((state, self.critic.joint_index(actions)[:, None].to(state.dtype)), 1)

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """The value that the critic is fitted to, [B, 1]."""
        return batch.reward.mean(1, keepdim=True) + batch.discount * self.next_value(batch)

    def next_value(self, batch: Batch) -> Tensor:
        """Target value of the choices of the agents' target networks in the next states, [B, 1]."""
        actions = []
        for i, head in enumerate(self.actors.heads):
            values = self.target_actors.agent(i)(batch.next_obs[i])
            actions.append(head.argmax(values, batch.next_mask[i]))
        return self.target_critic(self.joint(batch.next_state, actions))[0]

    @torch.no_grad()
    def action(self, i: int, batch: Batch) -> Tensor:
        """Index of agent i's current choice, [B]."""
        return self.actors.heads[i].argmax(self.actors.agent(i)(batch.obs[i]), batch.mask[i])

    @torch.no_grad()
    def updated_action(self, i: int, batch: Batch, actions: List[Tensor]) -> Tensor:
        """Index of the critic's choice for agent i beside the others' `actions`, [B]."""
        return self.actors.heads[i].argmax(self._agent_q_values(i, batch, actions), batch.mask[i])

    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Metrics:
        """One step of agent i towards the critic's values of its choices beside the others' `actions`."""
        mask = batch.mask[i]
        values = self._agent_q_values(i, batch, actions)
        allowed = torch.ones_like(values)
        if mask is not None:
            allowed = self.actors.heads[i].allowed(mask).to(values.dtype)

        def rows_of(part: RowIndex) -> Tensor:
            error = (self.actors.agent(i)(batch.obs[i][part]) - values[part]) * allowed[part]
            return error.square().sum(1, keepdim=True) / allowed[part].sum(1, keepdim=True)

        means, norm = self.actor_step(i, batch, rows_of)
        return {"loss": means[0], "grad_norm": norm}

    @torch.no_grad()
    def _agent_q_values(self, i: int, batch: Batch, actions: List[Tensor]) -> Tensor:
        """The critic's values [B, N_i] of agent i's choices beside the others' `actions`."""
        return self.critic.agent_q_values(i, self.critic.net(batch.state), actions)
