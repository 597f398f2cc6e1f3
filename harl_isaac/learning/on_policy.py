"""What the on-policy algorithms share: settings, networks and optimizers, and the order of one update."""

import random
from dataclasses import dataclass, field
from typing import Any, Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import Rollout, collect
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.gae import gae
from harl_isaac.learning.metrics import agent_order, explained_variance, per_agent_metrics
from harl_isaac.learning.sequential import sequential_update
from harl_isaac.learning.values import CentralCritic
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.settings import INFINITY, AlgoCfg, check_choices, check_hidden, check_minibatches, check_ranges

AGGREGATIONS = ("prod", "mean")
INPUT_NORMS = ("layer", "running")


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
    input_norm: str = "layer"  # layer: a LayerNorm on observations and states; running: their mean and deviation so far
    max_std: float = 0.5  # above the sigma of continuous actions, whose bounds are -1 and 1; it starts at 0.73 of this
    recurrent: bool = False  # a GRU as wide as the last hidden layer behind it, in actors and critic
    chunk_length: int = 10  # L, steps through which a recurrent network is trained at once
    share_param: bool = False  # one policy network for all agents
    agent_id: bool = True  # a shared network sees whose place it takes
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

    def check(self, spec: EnvSpec) -> None:
        """Refuse what cannot run. Raises ValueError with both numbers."""
        check_ranges(
            self,
            (
                ("rollout_length", 1, INFINITY),
                ("critic_epochs", 1, INFINITY),
                ("chunk_length", 1, INFINITY),
                ("critic_lr", 0, INFINITY),
                ("gamma", 0, 1),
                ("gae_lambda", 0, 1),
                ("clip", 0, INFINITY),
                ("max_std", 1e-6, INFINITY),
                ("huber_delta", 0, INFINITY),
                ("max_grad_norm", 0, INFINITY),
            ),
        )
        if self.recurrent and self.rollout_length % self.chunk_length:
            raise ValueError(
                f"algo.chunk_length={self.chunk_length} does not divide algo.rollout_length={self.rollout_length}"
            )
        check_minibatches(self, spec, "critic_minibatches")
        check_choices(
            "algo",
            self,
            (("activation", ACTIVATIONS), ("action_aggregation", AGGREGATIONS), ("input_norm", INPUT_NORMS)),
        )
        check_hidden(self)

    def actors(self, spec: EnvSpec) -> StackedActors:
        """New policies for an environment."""
        return StackedActors(
            spec,
            self.hidden,
            self.activation,
            self.head_gain,
            self.recurrent,
            self.share_param,
            self.agent_id,
            self.action_aggregation == "mean",
            self.max_std,
            self.input_norm == "running",
        )

    def optimizers(self, actors: StackedActors) -> List[torch.optim.Optimizer]:
        """One for each network among the actors, where the algorithm needs them."""
        return []


class OnPolicyLearner:
    """Networks, optimizers and the update. `update_agent(actor, optimizer, batch, advantage, cfg)` is the algorithm,
    `scheme` the way in which agents take turns, `critics` what estimates values."""

    replay = None  # what was lived through before the last rollout is not kept

    def __init__(
        self,
        spec: EnvSpec,
        cfg: OnPolicyCfg,
        update_agent,
        seed: int = 0,
        scheme=sequential_update,
        critics=CentralCritic,
    ):
        cfg.check(spec)
        self.spec = spec
        self.cfg = cfg
        self._update_agent = update_agent
        self._scheme = scheme
        self.actors = cfg.actors(spec)
        self.critic = critics(spec, cfg)
        self.optimizers = cfg.optimizers(self.actors)
        self.order = random.Random(seed)  # of the agents; on the host, so that drawing it reads no tensor
        self.rollout = Rollout(spec, cfg.rollout_length, self.actors, cfg.chunk_length, critics.uses_observations)

    def collect(self, env: MultiAgentEnv, step: Step, observer=None) -> Tuple[Step, int]:
        """Fill the rollout; the last Step and the number of steps of each environment."""
        return collect(env, self.actors, self.rollout, step, observer), self.rollout.length

    def update(self, progress: float) -> Dict[str, Tensor]:
        """One iteration's update from `self.rollout`; `progress` is the share of training done before it.

        Values, advantages, the agents in random order, the critic last (the reference's order).
        """
        self._set_learning_rates(progress)
        rollout = self.rollout
        cfg = self.cfg
        normalized, value, next_value = self.critic.estimate(rollout)
        advantage, target = gae(
            rollout.reward, value, next_value, rollout.terminated, rollout.truncated, cfg.gamma, cfg.gae_lambda
        )
        order = self._turns()
        by_agent, factor = self._scheme(self.actors, rollout, advantage, order, self._step_agent)
        fitted = self.critic.fit(rollout, normalized, target)
        self._take_in()
        metrics = {"critic/" + name: number for name, number in fitted.items()}
        metrics.update(per_agent_metrics(by_agent, self.spec.agents))
        metrics.update(
            {
                f"agent/{self.spec.agents[i]}/turn": torch.full((), float(place), device=self.spec.device)
                for place, i in enumerate(order)
            }
        )
        metrics.update(
            {
                "critic/value": value.mean(),
                "critic/explained_variance": explained_variance(value, target),
                "factor/mean": factor.mean(),
                "factor/std": factor.std(),
            }
        )
        return metrics

    def forget(self) -> None:
        """The running episodes were lost: new ones begin."""
        if self.rollout.recurrent:
            self.rollout.hidden.zero_()
            for function in self.critic.functions:
                function.hidden.zero_()

    def state_dict(self) -> Dict[str, Any]:
        return {
            "actors": self.actors.state_dict(),
            "critics": [each.state_dict() for each in self.critic.functions],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "order": self.order.getstate(),
            "hidden": self.rollout.hidden if self.rollout.recurrent else None,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.actors.load_state_dict(state["actors"])
        for function, saved in zip(self.critic.functions, state["critics"]):
            function.load_state_dict(saved)
        for optimizer, saved in zip(self.optimizers, state["optimizers"]):
            optimizer.load_state_dict(saved)
        self.order.setstate(state["order"])
        if self.rollout.recurrent:
            self.rollout.hidden.copy_(state["hidden"])

    def _take_in(self) -> None:
        """The networks' running moments learn the rollout only now: while it was collected and used they stood still."""
        self.actors.take_in(self.rollout.obs, self.rollout.alive)
        self.critic.take_in(self.rollout)

    def _turns(self) -> List[int]:
        return agent_order(self.order, self.spec.num_agents, self.cfg.fixed_order)

    def _step_agent(self, i: int, batch, advantage: Tensor) -> Dict[str, Tensor]:
        place = 0 if self.actors.shared else i
        optimizer = self.optimizers[place] if self.optimizers else None
        return self._update_agent(self.actors.agent(i), optimizer, batch, advantage, self.cfg)

    def _set_learning_rates(self, progress: float) -> None:
        share = 1.0 - progress if self.cfg.lr_decay else 1.0
        for optimizer in self.optimizers:
            optimizer.param_groups[0]["lr"] = optimizer.defaults["lr"] * share
        for function in self.critic.functions:
            function.set_learning_rate(self.cfg.critic_lr * share)
