"""Settings of the on-policy algorithms."""

from dataclasses import dataclass, field
from typing import List

from harl_isaac.env import EnvSpec
from harl_isaac.learning.estimates import check_networks, check_rollout, policy_sizes
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.learning.optimizers import Optimizer, adam
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.networks.running_norm import INPUT_NORMS
from harl_isaac.settings import (
    INFINITY,
    MOST_REPEATS,
    check_choices,
    check_frozen,
    check_hidden,
    check_limits,
    check_minibatches,
    check_ranges,
)

AGGREGATIONS = ("prod", "mean")
TINY = 1e-30  # of adam_eps: Adam divides by it where a gradient is zero


@dataclass
class OnPolicyCfg(AlgoCfg):
    """Settings of every on-policy algorithm; defaults are the paper's Table 25 (Bi-DexterousHands) but for four.

    Shorter rollouts, a lower learning rate that decays, and no entropy bonus: they learn the hand-over in fewer steps
    than the table's own (75 steps, 5e-4 constant, 0.01; experiment=ShadowHandOver/happo_table25), as far as short runs
    tell. experiment=ShadowHandOver/happo_wide catches much earlier and ends lower (docs/results/ShadowHandOver.md).
    """

    rollout_length: int = 25  # T, steps of each environment in one iteration
    hidden: List[int] = field(default_factory=lambda: [256, 256, 256])  # actors and critic
    activation: str = "relu"  # relu, tanh, elu, selu
    head_gain: float = 0.01  # orthogonal gain of the actors' last layer
    input_norm: str = (
        "layer"  # of observations and states, layer: a LayerNorm; running: their running mean and deviation; none
    )
    layer_norm: bool = True  # a LayerNorm behind each hidden layer, in actors and critic
    max_std: float = 0.5  # above the sigma of continuous actions, whose bounds are -1 and 1; it starts at 0.73 of this
    recurrent: bool = False  # a GRU as wide as the last hidden layer behind it, in actors and critic
    chunk_length: int = 10  # L, steps through which a recurrent network is trained at once
    share_param: bool = False  # one policy network for all agents
    agent_id: bool = True  # a shared network observes the agent's number too
    fixed_order: bool = False  # update agents in their given order instead of a random one
    action_aggregation: str = "prod"  # of the probability ratios of an action's dimensions: prod, mean
    critic_lr: float = 5e-4
    lr_decay: bool = True  # linear, to zero at total_steps
    adam_eps: float = 1e-5
    gamma: float = 0.95
    gae_lambda: float = 0.95
    critic_epochs: int = 5
    critic_minibatches: int = 1
    clip: float = 0.2  # of the policies' ratio and of the value's change (in normalized units)
    value_coef: float = 1.0
    huber_delta: float = 10.0
    max_grad_norm: float = 10.0
    frozen: List[str] = field(default_factory=list)  # agents that act and are not trained, such as [left hand]

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        check_ranges(self, [(name, 1, INFINITY) for name in ("rollout_length", "chunk_length")])
        check_ranges(self, [("critic_epochs", 1, MOST_REPEATS)])
        check_ranges(self, [(name, 0, 1) for name in ("gamma", "gae_lambda")])
        not_negative = ("critic_lr", "clip", "huber_delta", "value_coef", "head_gain")
        check_ranges(self, [(name, 0, INFINITY) for name in not_negative])
        check_ranges(self, [("max_std", 1e-6, INFINITY), ("adam_eps", TINY, INFINITY)])
        check_limits(self, ["max_grad_norm"])
        if self.recurrent and self.rollout_length % self.chunk_length:
            raise ValueError(
                f"algo.chunk_length={self.chunk_length} does not divide algo.rollout_length={self.rollout_length}"
            )
        check_minibatches(self, spec, "critic_minibatches")
        check_choices("algo", self, [("activation", ACTIVATIONS), ("input_norm", INPUT_NORMS)])
        check_choices("algo", self, [("action_aggregation", AGGREGATIONS)])
        check_hidden(self)
        check_frozen(self, spec)
        self._check_memory(spec)

    def _check_memory(self, spec: EnvSpec) -> None:
        check_rollout(spec, self.rollout_length)
        policies = policy_sizes(spec)[: 1 if self.share_param else None]
        networks = [*policies, (spec.state_size, 1)]
        check_networks(spec, self, networks, self.rollout_length * spec.num_envs, self.recurrent)

    def actors(self, spec: EnvSpec) -> StackedActors:
        """New policies for environments of this spec."""
        return StackedActors(
            spec,
            self.hidden,
            self.activation,
            self.head_gain,
            recurrent=self.recurrent,
            shared=self.share_param,
            with_id=self.agent_id,
            per_dimension=self.action_aggregation == "mean",
            max_std=self.max_std,
            input_norm=self.input_norm,
            layer_norm=self.layer_norm,
        )

    def optimizers(self, actors: StackedActors) -> List[Optimizer]:
        """One for each network among the actors, where the algorithm needs them."""
        return []


@dataclass
class FirstOrderCfg(OnPolicyCfg):
    """Settings of the algorithms that fit policies by gradient steps."""

    lr: float = 3e-4
    epochs: int = 5  # of each actor
    minibatches: int = 1
    entropy_coef: float = 0.0
    kl_target: float = 0.0  # KL(old, new) of an update, near which each policy's learning rate keeps it; 0: lr decides

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("lr", 0, INFINITY), ("epochs", 1, MOST_REPEATS), ("entropy_coef", 0, INFINITY)])
        check_ranges(self, [("kl_target", 0, INFINITY)])
        check_minibatches(self, spec, "minibatches")

    def optimizers(self, actors: StackedActors) -> List[Optimizer]:
        """An Adam for each network among the actors."""
        return [adam(actor.parameters(), self.lr, self.adam_eps) for actor in actors.agents]
