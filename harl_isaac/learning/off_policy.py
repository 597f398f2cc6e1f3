"""The off-policy learner: replay, steps of the critic, steps of the actors in order, slowly following targets."""

import copy
from abc import abstractmethod
from typing import Any, Callable, Dict, List, Optional, Tuple

import torch
from torch import Tensor, nn

from harl_isaac import ranks
from harl_isaac.buffers.quarantine import quarantine_replay
from harl_isaac.buffers.replay import Batch, Replay, explore
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import gradient_step
from harl_isaac.learning.learner import GradientLearner, Metrics, Observer
from harl_isaac.learning.metrics import living, per_agent_metrics
from harl_isaac.learning.off_policy_cfg import OffPolicyCfg
from harl_isaac.learning.optimizers import Optimizer, adam, restore
from harl_isaac.networks.joint_policy import ObservationPacker
from harl_isaac.networks.off_policy_nets import JointCritics, OffPolicyActors
from harl_isaac.settings import INFINITY

ADAM_EPS = 1e-8


class OffPolicyLearner(GradientLearner):
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
        self.critic = self.new_critic()
        self.target_critic = copy.deepcopy(self.critic)
        self.targets = [(self.target_critic, self.critic)]  # (target network, the network that it follows)
        self.optimizers = [adam(actor.parameters(), cfg.lr, ADAM_EPS) for actor in self.actors.agents]
        self.critic_optimizer = adam(self.critic.parameters(), cfg.critic_lr, ADAM_EPS)
        capacity = cfg.buffer_size // ranks.world()
        self.replay: Replay = Replay(spec, capacity, cfg.replay_dtype, cfg.replay_device)
        self.faults = self.replay.faults
        self.packer = ObservationPacker(spec, self.actors)
        self.batch_size = ranks.share(cfg.batch_size, "algo.batch_size")  # of this process
        self.count = 0  # updates so far
        self.warming_up = False  # whether the iteration only fills the replay, without an update
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

    def collect(self, env: MultiAgentEnv, step: Step, observer: Optional[Observer] = None) -> Tuple[Step, int]:
        """Store an iteration's steps. Those of the warmup are iterations too, which `update` passes over.

        Returns the last Step and the number of steps that each environment took. Actions are random in the warmup; a
        replay that was not saved is filled anew by the policies. Transitions that an environment spoils with numbers
        that are not finite count for nothing; `faults` notes them.
        """
        layers = self.actors.fused_layers()
        missing = self._missing_steps()
        self.warming_up = missing > 0
        length = min(missing, self.cfg.train_interval) if missing else self.cfg.train_interval

        def by_policy(step: Step) -> Tensor:
            return self.actors.explore(*self.packer(step), layers)

        def at_random(step: Step) -> Tensor:
            return self.actors.random(self.packer(step)[1])

        at_first = missing > 0 and self.count == 0
        before = self.replay.written
        try:
            return explore(env, at_random if at_first else by_policy, self.replay, step, length, observer), length
        finally:  # also what was stored before a simulator failed
            quarantine_replay(self.replay, self.replay.written - before)

    def update(self, progress: float) -> Metrics:
        """One iteration's updates: a critic step each, and every `policy_delay` of them the actors and targets.

        With a delay of 2 these move on the updates 1, 3, 5, ...; in the reference implementation, and as TD3 was
        published, on 2, 4, 6, ... After an iteration of the warmup there is no update, and no metrics.
        """
        if self.warming_up:
            return {}
        self.decay_learning_rates(progress)
        fitted = []
        for _ in range(self.cfg.updates):
            batch = self.replay.sample(self.batch_size, self.cfg.n_step, self.cfg.gamma)
            fitted.append(self.fit_critic(batch))
            if self.count % self.cfg.policy_delay == 0:
                self.latest = self.fit_actors(batch)
                self._move_targets()
            self.count += 1
        metrics = {"critic/" + name: torch.stack([each[name] for each in fitted]).mean() for name in fitted[0]}
        metrics.update(per_agent_metrics(self.latest, self.spec.agents))
        return metrics

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

    def init_policies(self, actors: Dict[str, Tensor]) -> None:
        """Begin with the weights of other policies, and their targets with them."""
        super().init_policies(actors)
        for target, network in self.targets:
            target.load_state_dict(network.state_dict())

    def on_episodes_lost(self) -> None:
        """Truncate the running episodes in the replay."""
        self.replay.truncate_episodes()

    @property
    def steps_before_update(self) -> int:
        """Environment steps, of all environments together, that fill the replay before the next update."""
        return self._missing_steps() * self.spec.num_envs * ranks.world()

    def _missing_steps(self) -> int:
        """Steps of each environment that the replay lacks before an update may draw from it."""
        everywhere = self.spec.num_envs * ranks.world()
        warmup = min(-(-self.cfg.warmup_steps // everywhere), self.replay.capacity)
        return max(warmup - self.replay.filled, 0)

    def all_optimizers(self) -> List[Optimizer]:
        """Those of the actors, then the critic's."""
        return [*self.optimizers, self.critic_optimizer]

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly, without the replay."""
        return {
            "actors": self.actors.state_dict(),
            "critic": self.critic.state_dict(),
            "targets": [target.state_dict() for target, _ in self.targets],
            "optimizers": [optimizer.state_dict() for optimizer in self.all_optimizers()],
            "order": self.order.getstate(),
            "count": self.count,
            "latest": self.latest,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        self.actors.load_state_dict(state["actors"])
        self.critic.load_state_dict(state["critic"])
        for (target, _), saved in zip(self.targets, state["targets"]):
            target.load_state_dict(saved)
        restore(self.all_optimizers(), state["optimizers"])
        self.order.setstate(state["order"])
        self.count = state["count"]
        device = self.spec.device
        self.latest = {
            i: {name: value.to(device) for name, value in metrics.items()} for i, metrics in state["latest"].items()
        }

    @torch.no_grad()
    def _move_targets(self) -> None:
        for target, network in self.targets:
            torch._foreach_lerp_(list(target.parameters()), list(network.parameters()), self.cfg.polyak)

    def _parts(self, batch: Batch) -> List[RowIndex]:
        rows = len(batch.state)
        return chunks(slice(0, rows), rows, batch.state.device, max(self.cfg.hidden))

    def _max_norm(self) -> float:
        return self.cfg.max_grad_norm or INFINITY
