"""What the on-policy algorithms share: settings, networks and optimisers, and the order of one update."""

import random
from dataclasses import dataclass, field
from typing import Any, Dict, List

import torch
from torch import Tensor

from harl_isaac.algos.advantage import gae
from harl_isaac.algos.critic_fit import fit_critic
from harl_isaac.algos.gradient import adam
from harl_isaac.algos.sequential import sequential_update
from harl_isaac.env import EnvSpec
from harl_isaac.networks.actors import StackedActors
from harl_isaac.networks.critic import Critic
from harl_isaac.networks.mlp import ACTIVATIONS
from harl_isaac.rollout import Rollout


INFINITY = float("inf")
RANGES = (("rollout_length", 1, INFINITY), ("epochs", 1, INFINITY), ("critic_epochs", 1, INFINITY), ("lr", 0, INFINITY),
          ("critic_lr", 0, INFINITY), ("gamma", 0, 1), ("gae_lambda", 0, 1), ("clip", 0, INFINITY),
          ("huber_delta", 0, INFINITY), ("max_grad_norm", 0, INFINITY))


@dataclass
class OnPolicyCfg:
    """Settings of every on-policy algorithm; defaults are the paper's Table 25 (Bi-DexterousHands) but for four.

    Shorter rollouts, a lower learning rate that decays, and no entropy bonus: they learn the hand-over in fewer steps
    than the table's own (75 steps, 5e-4 constant, 0.01; experiment=ShadowHandOver/happo_table25), as far as short runs
    tell (docs/results/ShadowHandOver.md).
    """

    rollout_length: int = 25  # T, steps of each environment in one iteration
    hidden: List[int] = field(default_factory=lambda: [256, 256, 256])  # actors and critic
    activation: str = "relu"  # relu, tanh, elu, selu
    head_gain: float = 0.01  # orthogonal gain of the actors' last layer
    lr: float = 3e-4
    critic_lr: float = 5e-4
    lr_decay: bool = True  # linear, to zero at total_steps
    adam_eps: float = 1e-5
    gamma: float = 0.95
    gae_lambda: float = 0.95
    epochs: int = 5  # of each actor
    minibatches: int = 1
    critic_epochs: int = 5
    critic_minibatches: int = 1
    clip: float = 0.2  # of the policies' ratio and of the value's change (in normalised units)
    entropy_coef: float = 0.0
    value_coef: float = 1.0
    huber_delta: float = 10.0
    max_grad_norm: float = 10.0

    def check(self, spec: EnvSpec) -> None:
        """Refuse what cannot run. Raises ValueError with both numbers."""
        check_ranges(self, RANGES)
        rows = self.rollout_length * spec.num_envs
        for name, count in (("minibatches", self.minibatches), ("critic_minibatches", self.critic_minibatches)):
            if count < 1 or rows % count:
                raise ValueError("algo.%s=%d does not divide the batch of %d (rollout_length %d x num_envs %d)" % (
                    name, count, rows, self.rollout_length, spec.num_envs))
        if self.activation not in ACTIVATIONS:
            raise ValueError("algo.activation=%s; possible: %s" % (self.activation, ", ".join(ACTIVATIONS)))
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError("algo.hidden=%s: give at least one layer of at least one unit, such as [256,256]" % self.hidden)
        if spec.reward_agents > spec.state_agents:
            raise ValueError("a reward for each agent (%d) needs a state for each agent, the environment gives %d" % (
                spec.reward_agents, spec.state_agents))


class OnPolicyLearner:
    """Networks, optimisers and the update. `update_agent(actor, optimiser, batch, advantage, cfg)` is the algorithm."""

    def __init__(self, spec: EnvSpec, cfg: OnPolicyCfg, update_agent, seed: int = 0):
        cfg.check(spec)
        self.spec, self.cfg, self._update_agent = spec, cfg, update_agent
        self.actors = StackedActors(spec, cfg.hidden, cfg.activation, cfg.head_gain)
        self.critic = Critic(spec, cfg.hidden, cfg.activation)
        self.optimisers = [adam(actor.parameters(), cfg.lr, cfg.adam_eps) for actor in self.actors.agents]
        self.critic_optimiser = adam(self.critic.parameters(), cfg.critic_lr, cfg.adam_eps)
        self.order = random.Random(seed)  # of the agents; on the host, so that drawing it reads no tensor
        self.rollout = Rollout(spec, cfg.rollout_length)

    def update(self, progress: float) -> Dict[str, Tensor]:
        """One iteration's update from `self.rollout`; `progress` is the share of training done before it.

        Values, advantages, the agents in random order, the critic last (the reference's order).
        """
        self._set_learning_rates(progress)
        rollout, critic = self.rollout, self.critic
        with torch.no_grad():
            old_value = critic.normalized(rollout.state)  # [T, E, K]
            value = critic.normalizer.denormalize(old_value)
            advantage, target = gae(rollout.reward, value, critic(rollout.next_state), rollout.terminated,
                                    rollout.truncated, self.cfg.gamma, self.cfg.gae_lambda)
        order = self.order.sample(range(self.spec.num_agents), self.spec.num_agents)
        by_agent, factor = sequential_update(self.actors, rollout, advantage, order, self._step_agent)
        metrics = fit_critic(critic, self.critic_optimiser, rollout.state.flatten(0, 2), old_value.flatten(),
                             target.flatten(), self.cfg)
        metrics.update(_named(by_agent, self.spec.agents))
        metrics.update({"critic/value": value.mean(), "critic/explained_variance": explained_variance(value, target),
                        "factor/mean": factor.mean(), "factor/std": factor.std()})
        return metrics

    def state_dict(self) -> Dict[str, Any]:
        return {"actors": self.actors.state_dict(), "critic": self.critic.state_dict(),
                "optimisers": [optimiser.state_dict() for optimiser in self.optimisers],
                "critic_optimiser": self.critic_optimiser.state_dict(), "order": self.order.getstate()}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.actors.load_state_dict(state["actors"])
        self.critic.load_state_dict(state["critic"])
        for optimiser, saved in zip(self.optimisers, state["optimisers"]):
            optimiser.load_state_dict(saved)
        self.critic_optimiser.load_state_dict(state["critic_optimiser"])
        self.order.setstate(state["order"])

    def _step_agent(self, i: int, batch, advantage: Tensor) -> Dict[str, Tensor]:
        return self._update_agent(self.actors.agents[i], self.optimisers[i], batch, advantage, self.cfg)

    def _set_learning_rates(self, progress: float) -> None:
        share = 1.0 - progress if self.cfg.lr_decay else 1.0
        for optimiser in self.optimisers:
            optimiser.param_groups[0]["lr"] = self.cfg.lr * share
        self.critic_optimiser.param_groups[0]["lr"] = self.cfg.critic_lr * share


def check_ranges(cfg: OnPolicyCfg, ranges) -> None:
    """Raises ValueError for the first of the settings (name, least, most) that is out of its range."""
    for name, low, high in ranges:
        if not low <= getattr(cfg, name) <= high:
            bounds = "at least %g" % low if high == INFINITY else "within %g and %g" % (low, high)
            raise ValueError("algo.%s=%g must be %s" % (name, getattr(cfg, name), bounds))


def explained_variance(value: Tensor, target: Tensor) -> Tensor:
    """1 - Var(target - value) / Var(target): 1 is a perfect critic, 0 one that knows the mean only."""
    return 1.0 - (target - value).var() / target.var().clamp(min=1e-8)


def _named(by_agent: Dict[int, Dict[str, Tensor]], agents) -> Dict[str, Tensor]:
    """Metrics by agent's name (never by its place in the order), and their mean."""
    names = by_agent[0].keys()
    metrics = {"actor/" + name: torch.stack([by_agent[i][name] for i in by_agent]).mean() for name in names}
    for i in range(len(agents)):
        for name in names:
            metrics["agent/%s/%s" % (agents[i], name)] = by_agent[i][name]
    return metrics
