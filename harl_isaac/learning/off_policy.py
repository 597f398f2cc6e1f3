"""What the off-policy algorithms share: settings, networks and optimizers, and the order of one update.

The sequential scheme (Zhong et al., 2024, Algorithms 6 and 7): the critic, then the actors one by one in random order,
each against the newest actions of those before it and the old ones of those after it.
"""

import copy
import random
from contextlib import nullcontext
from dataclasses import dataclass, field
from typing import Any, Callable, Dict, List, Tuple

import torch
from torch import Tensor, nn

from harl_isaac.acting import ObservationPacker
from harl_isaac.buffers.placement import PLACES
from harl_isaac.buffers.replay import DTYPES, Batch, Replay, explore
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.gradient import adam, chunks, gradient_step, rollback_unless
from harl_isaac.learning.metrics import agent_order, per_agent_metrics
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.networks.off_policy_nets import JointCritics, OffPolicyActors
from harl_isaac.settings import INFINITY, AlgoCfg, check_choices, check_hidden, check_ranges

ADAM_EPS = 1e-8


@dataclass
class OffPolicyCfg(AlgoCfg):
    """Settings of every off-policy algorithm; defaults are the paper's Tables 5, 7, 13 and 15.

    An algorithm's own `kinds(spec)` says how each agent acts (networks/behaviors.py), or refuses its actions by name.
    """

    buffer_size: int = 1_000_000  # transitions in the replay
    replay_dtype: str = "float32"  # of observations and states there: float32, float16
    replay_device: str = (
        "auto"  # where it lies: device, host (each batch is copied), auto: on the host if the device is too small
    )
    save_replay: bool = True  # in latest.pt, so that a resumed run goes on exactly; without, it fills a new one first
    warmup_steps: int = 10_000  # environment steps with random actions before the first update
    train_interval: int = 50  # steps of each environment in one iteration
    update_per_train: float = 1.0  # updates in an iteration for each of them
    batch_size: int = 1000
    n_step: int = 1  # rewards summed before the critic's value of what follows
    gamma: float = 0.99
    polyak: float = 0.005  # share of the networks that their targets take over in an update
    policy_delay: int = 1  # updates of the critic for one of actors and targets
    hidden: List[int] = field(default_factory=lambda: [256, 256])  # actors and critics
    activation: str = "relu"  # relu, tanh, elu, selu
    layer_norm: bool = False  # in front of each Linear, the input's included
    lr: float = 5e-4
    critic_lr: float = 1e-3
    lr_decay: bool = False  # linear, to zero at total_steps
    max_grad_norm: float = 0.0  # 0: not clipped
    fixed_order: bool = False  # update agents in their given order instead of a random one

    def check(self, spec: EnvSpec) -> None:
        """Refuse what cannot run. Raises ValueError with both numbers."""
        check_ranges(
            self,
            (
                ("warmup_steps", 1, self.buffer_size),
                ("batch_size", 1, INFINITY),
                ("n_step", 1, INFINITY),
                ("train_interval", 1, INFINITY),
                ("gamma", 0, 1),
                ("polyak", 0, 1),
                ("policy_delay", 1, INFINITY),
                ("lr", 0, INFINITY),
                ("critic_lr", 0, INFINITY),
                ("max_grad_norm", 0, INFINITY),
            ),
        )
        if self.batch_size > self.warmup_steps:
            raise ValueError(
                f"algo.batch_size={self.batch_size} is larger than the algo.warmup_steps={self.warmup_steps} "
                "that it is first drawn from"
            )
        if self.updates < 1:
            raise ValueError(
                f"algo.update_per_train={self.update_per_train:g} of algo.train_interval={self.train_interval} "
                "is less than one update an iteration"
            )
        check_choices("algo", self, (("activation", ACTIVATIONS), ("replay_dtype", DTYPES), ("replay_device", PLACES)))
        check_hidden(self)
        self.kinds(spec)

    @property
    def updates(self) -> int:
        """In one iteration."""
        return int(self.update_per_train * self.train_interval)

    def actors(self, spec: EnvSpec) -> OffPolicyActors:
        """New policies for an environment."""
        return OffPolicyActors(spec, self.hidden, self.activation, self.layer_norm, self.kinds(spec))


class OffPolicyLearner:
    """Networks, optimizers, replay and the update. An algorithm says what comes after a transition (`next_value`), what an
    actor descends (`fit_actor`) and what it would do now (`action`).

    With `sequential` false all actors learn at once, each against the others' actions in the replay.
    """

    def __init__(self, spec: EnvSpec, cfg: OffPolicyCfg, seed: int = 0, critics: int = 1, sequential: bool = True):
        cfg.check(spec)
        self.spec = spec
        self.cfg = cfg
        self.sequential = sequential
        self.actors = cfg.actors(spec)
        self.critic = self.new_critic(critics)
        self.target_critic = copy.deepcopy(self.critic)
        self.followers = [(self.target_critic, self.critic)]  # (network, whom it follows slowly)
        self.optimizers = [adam(actor.parameters(), cfg.lr, ADAM_EPS) for actor in self.actors.agents]
        self.critic_optimizer = adam(self.critic.parameters(), cfg.critic_lr, ADAM_EPS)
        self.order = random.Random(seed)  # of the agents; on the host, so that drawing it reads no tensor
        self.replay = Replay(spec, cfg.buffer_size, cfg.replay_dtype, cfg.replay_device)
        self.sight = ObservationPacker(spec, self.actors)
        # updates so far; what the last one of the actors reported, by agent
        self.count = 0
        self.latest = {}

    def new_critic(self, count: int) -> nn.Module:
        """`count` estimates of the value of joint actions, [B, S + all actions] -> [count, B, R]."""
        spec = self.spec
        cfg = self.cfg
        inputs = spec.state_agents * spec.state_size + sum(kind.features for kind in self.actors.kinds)
        return JointCritics(inputs, cfg.hidden, spec.reward_agents, cfg.activation, cfg.layer_norm, spec.device, count)

    def collect(self, env: MultiAgentEnv, step: Step, observer=None) -> Tuple[Step, int]:
        """Store an iteration's steps, and before the first update those of the warmup; the last Step and their number.

        A replay that was not saved is filled anew, by the policies.
        """
        layers = self.actors.fused_layers()
        warmup = min(-(-self.cfg.warmup_steps // self.spec.num_envs), self.replay.capacity)
        missing = max(warmup - self.replay.filled, 0)

        def by_policy(step: Step) -> Tensor:
            return self.actors.explore(*self.sight(step), layers)

        def at_random(step: Step) -> Tensor:
            return self.actors.random(self.sight(step)[1])

        step = explore(env, by_policy if self.count else at_random, self.replay, step, missing, observer)
        step = explore(env, by_policy, self.replay, step, self.cfg.train_interval, observer)
        return step, missing + self.cfg.train_interval

    def update(self, progress: float) -> Dict[str, Tensor]:
        """One iteration's updates; `progress` is the share of training done before it."""
        self._set_learning_rates(progress)
        fitted = []
        for _ in range(self.cfg.updates):
            batch = self.replay.sample(self.cfg.batch_size, self.cfg.n_step, self.cfg.gamma)
            fitted.append(self.fit_critic(batch))
            if self.count % self.cfg.policy_delay == 0:
                self.latest = self.fit_actors(batch)
                self._move_targets()
            self.count += 1
        metrics = {"critic/" + name: torch.stack([each[name] for each in fitted]).mean() for name in fitted[0]}
        metrics.update(per_agent_metrics(self.latest, self.spec.agents))
        return metrics

    def fit_critic(self, batch: Batch) -> Dict[str, Tensor]:
        """A step towards r + gamma^n next_value, each estimate by its mean square error."""
        target = self.target(batch)
        joint = self.joint(batch.state, self.replayed(batch))
        weight = 1.0 / (batch.known.sum().clamp(min=1.0) * target.shape[1])

        def loss_of(part):
            value = self.critic(joint[part])
            error = (value - target[part]) * batch.known[part]
            loss = error.square().sum() * weight
            seen = value.detach() * batch.known[part]
            means = torch.stack((seen.sum(), error.detach().abs().sum())) * (weight / len(value))
            return loss, torch.cat((loss.detach()[None], means))

        means, norm = gradient_step(self.critic_optimizer, loss_of, self._parts(batch), self._max_norm())
        return {"loss": means[0], "q": means[1], "td_error": means[2], "grad_norm": norm}

    @torch.no_grad()
    def target(self, batch: Batch) -> Tensor:
        """What the critic is fitted to, [B, R]."""
        return batch.reward + batch.discount * self.next_value(batch)

    def fit_actors(self, batch: Batch) -> Dict[int, Dict[str, Tensor]]:
        """A step of each agent; returns metrics by agent."""
        metrics = {}
        order = self._turns()
        actions = self.replayed(batch)
        if self.sequential:
            for i in order[1:]:  # those after the first are met with what they would do before their turn
                actions[i] = self.action(i, batch)
        for i in order:
            metrics[i] = self.fit_actor(i, batch, actions)
            if self.sequential and i != order[-1]:
                actions[i] = self.improved(i, batch, actions)
        return metrics

    def improved(self, i: int, batch: Batch, actions: List[Tensor]) -> Tensor:
        """What the agents after agent i's turn are to meet: what it would do now."""
        return self.action(i, batch)

    def descend(self, i: int, batch: Batch, rows_of: Callable[..., Tensor]) -> Tuple[Tensor, Tensor]:
        """A step of agent i down the mean of column 0 of `rows_of(part)` [b, M] over rows where it was alive.

        Returns the columns' means [M] and the gradient's norm.
        """
        alive = batch.alive[:, i : i + 1]
        living = alive.sum().clamp(min=1.0)

        def loss_of(part):
            means = (rows_of(part) * alive[part]).sum(0) / living
            return means[0], means.detach()

        with self.unless_absent(i, batch, self.optimizers[i]):
            return gradient_step(self.optimizers[i], loss_of, self._parts(batch), self._max_norm())

    def unless_absent(self, i: int, batch: Batch, optimizer: torch.optim.Optimizer):
        """A context in which the optimizer moves nothing if agent i was absent from the whole batch."""
        return rollback_unless(batch.alive[:, i].any(), optimizer) if self.spec.has_alive else nullcontext()

    def joint(self, state: Tensor, actions: List[Tensor]) -> Tensor:
        """The critics' input from states [B, S] and all agents' encoded actions."""
        return torch.cat((state, *actions), 1)

    def replayed(self, batch: Batch) -> List[Tensor]:
        """All agents' encoded actions as they were taken, A x [B, F_i]."""
        return [kind.encode(action) for kind, action in zip(self.actors.kinds, batch.action)]

    def forget(self) -> None:
        """The running episodes were lost: new ones begin."""
        self.replay.cut()

    def state_dict(self) -> Dict[str, Any]:
        return {
            "actors": self.actors.state_dict(),
            "critic": self.critic.state_dict(),
            "followers": [network.state_dict() for network, _ in self.followers],
            "optimizers": [optimizer.state_dict() for optimizer in self._all_optimizers()],
            "order": self.order.getstate(),
            "count": self.count,
            "latest": self.latest,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.actors.load_state_dict(state["actors"])
        self.critic.load_state_dict(state["critic"])
        for (network, _), saved in zip(self.followers, state["followers"]):
            network.load_state_dict(saved)
        for optimizer, saved in zip(self._all_optimizers(), state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.order.setstate(state["order"])
        self.count = state["count"]
        self.latest = {
            i: {name: value.to(self.spec.device) for name, value in each.items()} for i, each in state["latest"].items()
        }

    def _all_optimizers(self) -> List[torch.optim.Optimizer]:
        return [*self.optimizers, self.critic_optimizer]

    def _turns(self) -> List[int]:
        return agent_order(self.order, self.spec.num_agents, self.cfg.fixed_order)

    @torch.no_grad()
    def _move_targets(self) -> None:
        for target, network in self.followers:
            torch._foreach_lerp_(list(target.parameters()), list(network.parameters()), self.cfg.polyak)

    def _set_learning_rates(self, progress: float) -> None:
        share = 1.0 - progress if self.cfg.lr_decay else 1.0
        for optimizer in self._all_optimizers():
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * share

    def _parts(self, batch: Batch) -> List[slice]:
        rows = len(batch.state)
        return chunks(slice(0, rows), rows, batch.state.device)

    def _max_norm(self) -> float:
        return self.cfg.max_grad_norm or INFINITY
