"""The learner of off-policy actors and critics: steps of the critic, steps of the actors in order."""

from abc import abstractmethod
from typing import Any, Callable, Dict, List, Tuple

import torch
from torch import Tensor, nn

from harl_isaac.buffers.replay import Batch
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.env import EnvSpec
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import gradient_step
from harl_isaac.learning.learner import Metrics
from harl_isaac.learning.metrics import living, per_agent_metrics
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg
from harl_isaac.learning.optimizers import Optimizer, adam
from harl_isaac.learning.replay_learner import ADAM_EPS, ReplayLearner
from harl_isaac.networks.off_policy_nets import JointCritics, OffPolicyActors


class OffPolicyLearner(ReplayLearner):
    """Networks, optimizers, replay and the update.

    An algorithm says the value of the next states (`next_value`), the actor's step (`fit_actor`) and the current action
    (`action`). Actions are encoded as critics take them (networks/heads.py), [B, F_i].
    """

    cfg: Any  # the algorithm's own class derived from OffPolicyCfg
    actors: OffPolicyActors
    sequential = True  # actors one after the other, against the newest actions; else each against the replayed actions
    num_critics = 1  # estimates of the joint action's value

    def __init__(self, spec: EnvSpec, cfg: OffPolicyCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.optimizers = [adam(actor.parameters(), cfg.lr, ADAM_EPS) for actor in self.actors.agents]
        self.critic_optimizer = adam(self.critic.parameters(), cfg.critic_lr, ADAM_EPS)
        self.latest: Dict[int, Metrics] = {}  # of the last update of the actors, by agent

    @abstractmethod
    def next_value(self, batch: Batch) -> Tensor:
        """Target value of the next states, [B, R]."""

    @abstractmethod
    def action(self, i: int, batch: Batch) -> Tensor:
        """Agent i's current action, encoded [B, F_i]."""

    @abstractmethod
    def fit_actor(self, i: int, batch: Batch, actions: List[Tensor]) -> Metrics:
        """One step of agent i's policy against the others' encoded `actions` A x [B, F_j]."""

    def new_critic(self) -> nn.Module:
        """Estimates of the value of joint actions, [B, S + all F_i] -> [num_critics, B, R]."""
        spec = self.spec
        cfg = self.cfg
        inputs = spec.state_agents * spec.state_size + sum(head.features for head in self.actors.heads)
        return JointCritics(
            inputs, cfg.hidden, spec.reward_agents, cfg.activation, cfg.layer_norm, spec.device, self.num_critics
        )

    def update(self, progress: float) -> Metrics:
        """One iteration's updates; returns the critic's metrics and those of the agents' last steps."""
        metrics = super().update(progress)
        if metrics:
            metrics.update(per_agent_metrics(self.latest, self.spec.agents))
        return metrics

    def learn(self, batch: Batch) -> Metrics:
        """A step of the critic and, every `policy_delay` of them, of the actors and targets.

        With a delay of 2 these move on the updates 1, 3, 5, ...; in the reference implementation, and as TD3 was
        published, on 2, 4, 6, ...
        """
        fitted = self.fit_critic(batch)
        if self.count % self.cfg.policy_delay == 0:
            self.latest = self.fit_actors(batch)
            self._move_targets(self.cfg.polyak)
        return fitted

    def fit_critic(self, batch: Batch) -> Metrics:
        """One step towards r + gamma^n next_value, each estimate by its mean squared error."""
        target = self.target(batch)
        joint = self.joint(batch.state, self.replayed_actions(batch))
        weight = 1.0 / (living(batch.valid) * target.shape[1])

        def loss_of(part: RowIndex) -> Tuple[Tensor, Tensor]:
            value = self.critic(joint[part])
            error = (value - target[part]) * batch.valid[part]
            loss = error.square().sum() * weight
            valid_value = value.detach() * batch.valid[part]
            means = torch.stack((valid_value.sum(), error.detach().abs().sum())) * (weight / len(value))
            return loss, torch.cat((loss.detach()[None], means))

        means, norm = gradient_step(self.critic_optimizer, loss_of, self._parts(batch), self._max_norm())
        return {"loss": means[0], "q": means[1], "td_error": means[2], "grad_norm": norm}

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """The value that the critic is fitted to, [B, R]."""
        return batch.reward + batch.discount * self.next_value(batch)

    def fit_actors(self, batch: Batch) -> Dict[int, Metrics]:
        """One step of each agent, in random order; returns metrics by agent."""
        metrics = {}
        order = self.draw_agent_order()
        actions = self.replayed_actions(batch)
        if self.sequential:
            # until their own step, the later agents are taken at their current actions; frozen ones always
            frozen = [i for i in range(self.spec.num_agents) if i not in self.trained]
            for i in order[1:] + frozen:
                actions[i] = self.action(i, batch)
        for i in order:
            metrics[i] = self.fit_actor(i, batch, actions)
            if self.sequential and i != order[-1]:
                actions[i] = self.updated_action(i, batch, actions)
        return metrics

    def updated_action(self, i: int, batch: Batch, actions: List[Tensor]) -> Tensor:
        """Agent i's action after its step, on which later agents condition, [B, F_i]."""
        return self.action(i, batch)

    def actor_step(self, i: int, batch: Batch, rows_of: Callable[[RowIndex], Tensor]) -> Tuple[Tensor, Tensor]:
        """One step of agent i down the mean of column 0 of `rows_of(part)` [b, M] over rows where it was alive.

        Returns the columns' means [M] and the gradient's norm [].
        """
        alive = batch.alive[:, i : i + 1]
        count = living(alive)

        def loss_of(part: RowIndex) -> Tuple[Tensor, Tensor]:
            means = (rows_of(part) * alive[part]).sum(0) / count
            return means[0], means.detach()

        with self.skip_if_dead(alive, self.optimizers[i]):
            return gradient_step(self.optimizers[i], loss_of, self._parts(batch), self._max_norm())

    def joint(self, state: Tensor, actions: List[Tensor]) -> Tensor:
        """The critics' input [B, S + all F_i] from states [B, S] and all agents' encoded actions."""
        return torch.cat((state, *actions), 1)

    def replayed_actions(self, batch: Batch) -> List[Tensor]:
        """All agents' encoded actions as they were taken, A x [B, F_i]."""
        return [head.encode(action) for head, action in zip(self.actors.heads, batch.action)]

    def all_optimizers(self) -> List[Optimizer]:
        """Those of the actors, then the critic's."""
        return [*self.optimizers, self.critic_optimizer]

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly, without the replay."""
        return {**super().state_dict(), "latest": self.latest}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        super().load_state_dict(state)
        device = self.spec.device
        self.latest = {
            i: {name: value.to(device) for name, value in metrics.items()} for i, metrics in state["latest"].items()
        }

    def _parts(self, batch: Batch) -> List[RowIndex]:
        rows = len(batch.state)
        return chunks(slice(0, rows), rows, batch.state.device, max(self.cfg.hidden))
