"""The value functions of a learner: one central critic for all agents, or a critic for each agent's own observation."""

from typing import Any, Dict, List, NamedTuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import EnvSpec
from harl_isaac.learning.critic_fit import fit_critic
from harl_isaac.learning.gradient import adam
from harl_isaac.networks.critic import Critic
from harl_isaac.networks.gru import SequenceStart


class Estimate(NamedTuple):
    """Values of a rollout's states and of their true successors, before anything is fitted."""

    normalized: Tensor  # [T, E, V] in the critic's units
    value: Tensor  # [T, E, V] in units of the return
    next_value: Tensor  # [T, E, V]


class ValueFunction:
    """A critic, its optimizer and, if it is recurrent, its state, for states [T, E, K, S].

    It has `values` outputs for each state: V = K x values columns in all.
    """

    def __init__(self, state_size: int, agents: int, values: int, spec: EnvSpec, cfg):
        self.cfg = cfg
        self.agents = agents
        self.values = values
        self.critic = Critic(
            state_size,
            cfg.hidden,
            cfg.activation,
            spec.device,
            values,
            cfg.recurrent,
            running_norm=cfg.input_norm == "running",
        )
        self.optimizer = adam(self.critic.parameters(), cfg.critic_lr, cfg.adam_eps)
        shape = (spec.num_envs * agents, cfg.hidden[-1])
        self.hidden = (
            torch.zeros(shape, device=spec.device) if cfg.recurrent else None
        )  # [E K, H] after the last rollout
        self.memory = None  # of the rollout that `estimate` saw

    @torch.no_grad()
    def estimate(self, rollout: Rollout, state: Tensor, next_state: Tensor) -> Estimate:
        """Values of states [T, E, K, S] and of their successors, in two batched passes."""
        if not self.cfg.recurrent:
            normalized, next_normalized = [self.critic.normalized(x).flatten(2) for x in (state, next_state)]
        else:
            normalized, next_normalized = self._unrolled(rollout, state, next_state)
        denormalize = self.critic.normalizer.denormalize
        return Estimate(normalized, denormalize(normalized), denormalize(next_normalized))

    def fit(self, rollout: Rollout, state: Tensor, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Fit to targets [T, E, V], given the old normalized values."""
        rows = [
            self._as_batch(rollout, value.unflatten(2, (self.agents, -1)) if value.dim() == 3 else value)
            for value in (state, old, target)
        ]
        return fit_critic(self.critic, self.optimizer, *rows, self.cfg, self.memory)

    def take_in(self, state: Tensor) -> None:
        """Let the running moments, if there are any, learn states [T, E, K, S]."""
        if self.critic.net.input_norm is not None:
            self.critic.net.input_norm.take_in(state.flatten(0, 2))

    def set_learning_rate(self, lr: float) -> None:
        self.optimizer.param_groups[0]["lr"] = lr

    def state_dict(self) -> Dict[str, Any]:
        return {"critic": self.critic.state_dict(), "optimizer": self.optimizer.state_dict(), "hidden": self.hidden}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.critic.load_state_dict(state["critic"])
        self.optimizer.load_state_dict(state["optimizer"])
        if self.hidden is not None:
            self.hidden.copy_(state["hidden"])

    @staticmethod
    def _as_batch(rollout: Rollout, value: Tensor) -> Tensor:
        """[T, E, K, S] as rows [B K, S] or sequences [N K, L, S]."""
        return rollout.as_batch(value).movedim(-2, 1).flatten(0, 1)

    def _unrolled(self, rollout: Rollout, state: Tensor, next_state: Tensor):
        """Along the rollout from the state that the last one ended with; a successor is one step on from its state."""
        length, envs = state.shape[:2]
        begin = rollout.begin().t()[:, None].expand(-1, self.agents, -1).flatten(0, 1)  # [E K, T]
        x, next_x = [value.permute(1, 2, 0, 3).flatten(0, 1) for value in (state, next_state)]  # [E K, T, S]
        out, after = self.critic.net.run(x, SequenceStart(self.hidden, begin))
        lone = torch.zeros_like(begin).flatten()[:, None]
        next_out = self.critic.net(next_x.flatten(0, 1)[:, None], SequenceStart(after.flatten(0, 1), lone)).reshape(
            out.shape
        )
        before = torch.cat((self.hidden[:, None], after[:, :-1]), 1).masked_fill(begin[..., None], 0.0)
        starts = before[:, :: self.cfg.chunk_length].transpose(0, 1)  # [T/L, E K, H]
        starts_begin = self._as_batch(rollout, rollout.begin()[..., None, None].expand(-1, -1, self.agents, -1))[..., 0]
        self.memory = SequenceStart(starts.flatten(0, 1), starts_begin)
        done = (rollout.terminated | rollout.truncated)[-1].expand(-1, self.agents).flatten()
        self.hidden.copy_(after[:, -1].masked_fill(done[:, None], 0.0))
        return [value.view(envs, self.agents, length, -1).permute(2, 0, 1, 3).flatten(2) for value in (out, next_out)]


class CentralCritic:
    """V(s): one network for the environment's state, or for each agent's state (K = A) with shared weights."""

    uses_observations = False

    def __init__(self, spec: EnvSpec, cfg):
        values = spec.reward_agents if spec.state_agents == 1 else 1  # one state, a reward for each agent: A outputs
        self.function = ValueFunction(spec.state_size, spec.state_agents, values, spec, cfg)

    @property
    def functions(self) -> List[ValueFunction]:
        return [self.function]

    def estimate(self, rollout: Rollout) -> Estimate:
        """Of all states of a rollout, [T, E, V]; V is 1 or A."""
        return self.function.estimate(rollout, rollout.state, rollout.next_state)

    def fit(self, rollout: Rollout, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """See `ValueFunction.fit`."""
        return self.function.fit(rollout, rollout.state, old, target)

    def take_in(self, rollout: Rollout) -> None:
        """See `ValueFunction.take_in`."""
        self.function.take_in(rollout.state)


class PerAgentCritics:
    """V_i(o_i): a network for each agent, which sees what the agent sees (IPPO)."""

    uses_observations = True

    def __init__(self, spec: EnvSpec, cfg):
        self.sizes = spec.obs_sizes
        self.functions = [ValueFunction(size, 1, 1, spec, cfg) for size in spec.obs_sizes]

    def estimate(self, rollout: Rollout) -> Estimate:
        """Of all agents' observations, [T, E, A]."""
        each = [
            function.estimate(rollout, self._own(rollout.obs, i), self._own(rollout.next_obs, i))
            for i, function in enumerate(self.functions)
        ]
        return Estimate(*[torch.cat(values, 2) for values in zip(*each)])

    def fit(self, rollout: Rollout, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Each to its own column; metrics are means over agents."""
        metrics = [
            function.fit(rollout, self._own(rollout.obs, i), old[:, :, i : i + 1], target[:, :, i : i + 1])
            for i, function in enumerate(self.functions)
        ]
        return {name: torch.stack([values[name] for values in metrics]).mean() for name in metrics[0]}

    def take_in(self, rollout: Rollout) -> None:
        """Each its agent's observations."""
        for i, function in enumerate(self.functions):
            function.take_in(self._own(rollout.obs, i))

    def _own(self, obs: Tensor, i: int) -> Tensor:
        return obs[:, :, i : i + 1, : self.sizes[i]]
