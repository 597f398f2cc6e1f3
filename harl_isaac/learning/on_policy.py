"""The on-policy learner: a rollout, advantages, the agents' updates in order, the critic last."""

from abc import abstractmethod
from typing import Any, Dict, List, Optional, Sequence, Tuple, Type, Union

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.buffers.quarantine import quarantine_rollout
from harl_isaac.buffers.rollout import AgentBatch, Rollout, collect
from harl_isaac.devices import products_are_exact
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.learning.gae import gae
from harl_isaac.learning.learner import GradientLearner, Metrics, Observer
from harl_isaac.learning.metrics import explained_variance, per_agent_metrics
from harl_isaac.learning.on_policy_cfg import OnPolicyCfg
from harl_isaac.learning.optimizers import Optimizer, restore
from harl_isaac.learning.sequential import Scheme, sequential_update, simultaneous_update
from harl_isaac.learning.values import CentralCritic, PerAgentCritics, restore_rows
from harl_isaac.networks.actors import StackedActors


class OnPolicyLearner(GradientLearner):
    """Networks, optimizers and the update. An algorithm says how one agent is updated (`update_agent`)."""

    cfg: Any  # the algorithm's own class derived from OnPolicyCfg
    actors: StackedActors
    sequential = True  # agents one after the other, against the policies already updated; else all at once
    critics: Type[Union[CentralCritic, PerAgentCritics]] = CentralCritic

    def __init__(self, spec: EnvSpec, cfg: OnPolicyCfg, seed: int = 0):
        super().__init__(spec, cfg, seed)
        self.critic = self.critics(spec, cfg)
        self.scheme: Scheme = sequential_update if self.sequential else simultaneous_update
        self.optimizers = cfg.optimizers(self.actors)
        columns = [float(i in self.trained) for i in range(spec.num_agents)]
        self.trained_columns = torch.tensor(columns, device=spec.device)  # [A] 1 of agents that are trained
        self.rollout = Rollout(spec, cfg.rollout_length, self.actors, cfg.chunk_length, self.critic.uses_observations)
        self.faults = self.rollout.faults

    @abstractmethod
    def update_agent(self, i: int, batch: AgentBatch, advantage: Tensor) -> Metrics:
        """Improve agent i's policy on its batch; `advantage` [B] is its normalized advantage times the factor."""

    def collect(self, env: MultiAgentEnv, step: Step, observer: Optional[Observer] = None) -> Tuple[Step, int]:
        """Fill the rollout; returns the last Step and the number of steps that each environment took.

        Rows that an environment spoils with numbers that are not finite count for nothing; `faults` notes them.
        """
        last = collect(env, self.actors, self.rollout, step, observer)
        quarantine_rollout(self.rollout, last)
        return last, self.rollout.length

    def update(self, progress: float) -> Metrics:
        """One iteration's update from the rollout: values, advantages, the agents in random order, the critic last.

        The order is the reference implementation's (Zhong et al., 2024, Algorithm 4).
        """
        self.decay_learning_rates(progress)
        rollout = self.rollout
        if not products_are_exact():
            self._recompute_log_probs()
        normalized, value, next_value = self.critic.estimate(rollout)
        ends = (rollout.terminated, rollout.truncated)
        advantage, target = gae(rollout.reward, value, next_value, *ends, self.cfg.gamma, self.cfg.gae_lambda)
        order = self.draw_agent_order()
        by_agent, factor = self.scheme(self.actors, rollout, advantage, order, self.update_agent)
        fitted = self.critic.fit(rollout, normalized, target)
        self._update_input_norms()
        metrics = {"critic/" + name: number for name, number in fitted.items()}
        metrics.update(per_agent_metrics(by_agent, self.spec.agents))
        metrics.update(self._order_metrics(order))
        metrics["critic/value"] = ranks.mean(value.mean())
        metrics["critic/explained_variance"] = explained_variance(value, target)
        metrics["factor/mean"] = ranks.mean(factor.mean())
        metrics["factor/std"] = factor.std() if ranks.world() == 1 else ranks.variance(factor).sqrt()
        return metrics

    @torch.no_grad()
    def _recompute_log_probs(self) -> None:
        """Replace the rollout's log-probabilities by those that the update computes.

        Acting multiplies the same numbers in other groups; coarse products would begin ratios beside one.
        """
        for i in range(self.spec.num_agents):
            batch = self.rollout.agent(i)
            log_prob, _ = self.actors.agent(i).evaluate_actions(batch.obs, batch.action, batch.mask, batch.sequence)
            self.rollout.write_log_prob(i, log_prob)

    def on_episodes_lost(self) -> None:
        """Start new episodes from recurrent states of zero."""
        self.rollout.hidden.zero_()
        for function in self.critic.functions:
            function.hidden.zero_()

    def all_optimizers(self) -> List[Optimizer]:
        """Those of the actors, then those of the critics."""
        return [*self.optimizers, *(function.optimizer for function in self.critic.functions)]

    def own_state(self) -> Dict[str, Any]:
        """Memory of recurrent networks in the running episodes."""
        if not self.rollout.recurrent:
            return {}
        return {"actors": self.rollout.hidden, "critics": [function.hidden for function in self.critic.functions]}

    def load_own_state(self, state: Dict[str, Any]) -> None:
        """Continue from an `own_state`."""
        if self.rollout.recurrent:
            self.rollout.hidden.copy_(state["actors"])
            for function, saved in zip(self.critic.functions, state["critics"]):
                function.hidden.copy_(saved)

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly."""
        return {
            "actors": self.actors.state_dict(),
            "critics": [function.state_dict() for function in self.critic.functions],
            "optimizers": [optimizer.state_dict() for optimizer in self.optimizers],
            "order": self.order.getstate(),
            "hidden": self.rollout.hidden if self.rollout.recurrent else None,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a learner with the same settings and sizes."""
        self.actors.load_state_dict(state["actors"])
        for function, saved in zip(self.critic.functions, state["critics"]):
            function.load_state_dict(saved)
        restore(self.optimizers, state["optimizers"])
        self.order.setstate(state["order"])
        if self.rollout.recurrent:
            restore_rows(self.rollout.hidden, state["hidden"])

    def _update_input_norms(self) -> None:
        """Let the running moments of inputs learn the rollout, which they did not change while it was used."""
        alive = self.rollout.alive
        if len(self.trained) < self.spec.num_agents:  # a frozen policy keeps the moments of its inputs too
            alive = alive * self.trained_columns
        self.actors.update_input_norm(self.rollout.obs, alive)
        self.critic.update_input_norm(self.rollout)

    def _order_metrics(self, order: Sequence[int]) -> Dict[str, Tensor]:
        """agent/<name>/turn: how many agents were updated before it."""
        device = self.spec.device
        return {
            f"agent/{self.spec.agents[i]}/turn": torch.full((), float(before), device=device)
            for before, i in enumerate(order)
        }
