"""Settings of the off-policy algorithms."""

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import Any, List

from harl_isaac.buffers.placement import PLACEMENTS
from harl_isaac.buffers.replay import DTYPES
from harl_isaac.env import EnvSpec, action_width
from harl_isaac.learning.estimates import check_batch, check_networks, policy_sizes
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.networks.off_policy_nets import FeedForward, NetworkFactory, OffPolicyActors
from harl_isaac.settings import (
    INFINITY,
    MOST_REPEATS,
    check_choices,
    check_frozen,
    check_hidden,
    check_limits,
    check_ranges,
)


@dataclass
class ReplayCfg(AlgoCfg):
    """Settings of every algorithm that learns from a replay; defaults are the paper's Tables 5, 7, 13 and 15."""

    buffer_size: int = 1_000_000  # transitions in the replay
    replay_dtype: str = "float32"  # of observations and states there: float32, float16
    replay_device: str = "auto"  # device, host (each batch is copied), or auto: the host if the device is too small
    save_replay: bool = True  # in latest.pt, so that a resumed run goes on exactly; without, it fills a new one first
    warmup_steps: int = 10_000  # environment steps with random actions, in iterations that update nothing
    train_interval: int = 50  # steps of each environment in one iteration
    update_per_train: float = 1.0  # updates in an iteration for each of them
    batch_size: int = 1000
    n_step: int = 1  # rewards summed before the critic's value of what follows
    gamma: float = 0.99
    polyak: float = 0.005  # share of the networks that their targets take over in an update
    hidden: List[int] = field(default_factory=lambda: [256, 256])  # actors and critics
    activation: str = "relu"  # relu, tanh, elu, selu
    lr: float = 5e-4
    lr_decay: bool = False  # linear, to zero at total_steps
    max_grad_norm: float = 0.0  # 0: not clipped
    frozen: List[str] = field(default_factory=list)  # agents that act and are not trained, such as [left hand]

    @abstractmethod
    def heads(self, spec: EnvSpec) -> List[Any]:
        """Each agent's policy head (networks/heads.py). Raises ValueError for action spaces without one."""

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        at_least_one = ("buffer_size", "warmup_steps", "batch_size", "n_step")
        check_ranges(self, [(name, 1, INFINITY) for name in at_least_one])
        check_ranges(self, [("train_interval", 1, MOST_REPEATS)])
        check_ranges(self, [(name, 0, 1) for name in ("gamma", "polyak")])
        check_ranges(self, [(name, 0, INFINITY) for name in ("lr", "update_per_train")])
        check_limits(self, ["max_grad_norm"])
        self._check_amounts()
        check_choices("algo", self, [("activation", ACTIVATIONS), ("replay_dtype", DTYPES)])
        check_choices("algo", self, [("replay_device", PLACEMENTS)])
        check_hidden(self)
        check_frozen(self, spec)
        self.heads(spec)
        check_batch(spec, self.batch_size, self.n_step)

    def _check_amounts(self) -> None:
        """Raise ValueError for numbers of steps and updates that do not go together."""
        if self.warmup_steps > self.buffer_size:
            raise ValueError(
                f"algo.warmup_steps={self.warmup_steps} is more than algo.buffer_size={self.buffer_size} holds"
            )
        if self.batch_size > self.warmup_steps:
            raise ValueError(
                f"algo.batch_size={self.batch_size} is larger than the algo.warmup_steps={self.warmup_steps} "
                "that it is first drawn from"
            )
        if not 1 <= self.updates <= MOST_REPEATS:
            bound = "less than one update" if self.updates < 1 else f"more than {MOST_REPEATS} updates"
            raise ValueError(
                f"algo.update_per_train={self.update_per_train:g} of algo.train_interval={self.train_interval} "
                f"is {bound} an iteration"
            )

    @property
    def updates(self) -> int:
        """Updates in one iteration."""
        return int(self.update_per_train * self.train_interval)


@dataclass
class OffPolicyCfg(ReplayCfg):
    """Settings of every off-policy algorithm with a joint critic and policies that learn from it."""

    policy_delay: int = 1  # updates of the critic for one of actors and targets, the first of which moves them
    layer_norm: bool = False  # in front of each Linear, the input's included
    critic_lr: float = 1e-3
    fixed_order: bool = False  # update agents in their given order instead of a random one

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("policy_delay", 1, INFINITY), ("critic_lr", 0, INFINITY)])
        actions = sum(action_width(space) for space in spec.actions)
        critic = (spec.state_agents * spec.state_size + actions, spec.reward_agents)
        check_networks(spec, self, [*policy_sizes(spec), critic], self.batch_size)

    def actors(self, spec: EnvSpec) -> OffPolicyActors:
        """New policies for environments of this spec."""
        return OffPolicyActors(
            spec, self.hidden, self.activation, self.layer_norm, self.heads(spec), self.networks(spec)
        )

    def networks(self, spec: EnvSpec) -> List[NetworkFactory]:
        """The kind of each agent's network."""
        return [FeedForward] * spec.num_agents
