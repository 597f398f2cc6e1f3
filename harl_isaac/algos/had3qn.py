"""HAD3QN: a value-based approximation to HADDPG for choices (Zhong et al., 2024, Appendix I, Algorithm 8).

A central dueling critic has a value for every joint action; each agent's own dueling network learns what the critic says
of its choices beside the newest choices of those before it and the greedy ones of those after it. The agents' targets choose
what comes next, the critic's target values it (double Q-learning). All allowed choices of an agent are learned from a transition;
in the reference implementation it is one.
"""

import copy
import math
from dataclasses import dataclass
from typing import Dict, List

import torch
from torch import Tensor, nn

from harl_isaac.buffers.replay import Batch
from harl_isaac.env import Box, EnvSpec
from harl_isaac.learning.off_policy import OffPolicyCfg, OffPolicyLearner
from harl_isaac.networks.dueling import DuelingMLP, JointActionQ
from harl_isaac.networks.heads import EpsilonGreedyHead
from harl_isaac.networks.off_policy_nets import OffPolicyActors
from harl_isaac.settings import check_ranges

MOST = 2**20  # joint actions: their places are exact in float32 up to 2^24


@dataclass
class Had3qnCfg(OffPolicyCfg):
    """HAD3QN."""

    name: str = "had3qn"
    epsilon: float = 0.05  # probability of a random choice while collecting

    def check(self, spec: EnvSpec) -> None:
        super().check(spec)
        check_ranges(self, (("epsilon", 0, 1),))

    def kinds(self, spec: EnvSpec) -> List[EpsilonGreedyHead]:
        """Raises ValueError for continuous actions, and where there are too many joint ones."""
        for agent, space in zip(spec.agents, spec.actions):
            if isinstance(space, Box):
                raise ValueError(f"algo={self.name} needs choices (Discrete, MultiDiscrete); {agent} has {space}")
        kinds = [EpsilonGreedyHead(space, self.epsilon) for space in spec.actions]
        total = math.prod(kind.head_size for kind in kinds)
        if total > MOST:
            raise ValueError(
                f"algo={self.name} has a value for each of {' x '.join(str(kind.head_size) for kind in kinds)} "
                f"joint actions, more than {MOST}; use algo=hasac"
            )
        return kinds

    def actors(self, spec: EnvSpec) -> OffPolicyActors:
        return OffPolicyActors(spec, self.hidden, self.activation, self.layer_norm, self.kinds(spec), DuelingMLP)

    def learner(self, spec: EnvSpec, seed: int) -> OffPolicyLearner:
        return DuelingLearner(spec, self, seed)


class DuelingLearner(OffPolicyLearner):
    """Actions are places in each agent's choices [B]. Where each agent has a reward, their mean is everybody's."""

    def __init__(self, spec: EnvSpec, cfg: Had3qnCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.target_actors = copy.deepcopy(self.actors)
        self.followers.append((self.target_actors, self.actors))

    def new_critic(self, count: int) -> nn.Module:
        spec = self.spec
        cfg = self.cfg
        sizes = [kind.head_size for kind in self.actors.kinds]
        return JointActionQ(
            spec.state_agents * spec.state_size, cfg.hidden, sizes, cfg.activation, cfg.layer_norm, spec.device
        )

    def joint(self, state: Tensor, actions: List[Tensor]) -> Tensor:
        """States with the joint action's place beside them, [B, S + 1]."""
        return torch.cat((state, self.critic.place(actions)[:, None].to(state.dtype)), 1)

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        return batch.reward.mean(1, keepdim=True) + batch.discount * self.next_value(batch)

    def next_value(self, batch: Batch) -> Tensor:
        """Of the choices of the agents' targets by the critic's, [B, 1]."""
        actions = [
            kind.best(self.target_actors.agent(i)(batch.next_obs[i]), batch.next_mask[i])
            for i, kind in enumerate(self.actors.kinds)
        ]
        return self.target_critic(self.joint(batch.next_state, actions))[0]

    @torch.no_grad()
    def action(self, i: int, batch: Batch) -> Tensor:
        """What agent i would choose now, [B]."""
        return self.actors.kinds[i].best(self.actors.agent(i)(batch.obs[i]), batch.mask[i])

    @torch.no_grad()
    def improved(self, i: int, batch: Batch, actions: List[Tensor]) -> Tensor:
        """The critic's choice for agent i beside the others' `actions`, [B]."""
        return self.actors.kinds[i].best(self._of_agent(i, batch, actions), batch.mask[i])

    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Dict[str, Tensor]:
        """A step of agent i towards the critic's values of its choices beside the others' `actions`."""
        mask = batch.mask[i]
        values = self._of_agent(i, batch, actions)
        allowed = torch.ones_like(values) if mask is None else self.actors.kinds[i].allowed(mask).to(values.dtype)

        def rows_of(part):
            error = (self.actors.agent(i)(batch.obs[i][part]) - values[part]) * allowed[part]
            return error.square().sum(1, keepdim=True) / allowed[part].sum(1, keepdim=True)

        means, norm = self.descend(i, batch, rows_of)
        return {"loss": means[0], "grad_norm": norm}

    @torch.no_grad()
    def _of_agent(self, i: int, batch: Batch, actions: List[Tensor]) -> Tensor:
        return self.critic.of_agent(i, self.critic.net(batch.state), actions)
