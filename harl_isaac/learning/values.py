"""The value functions of a learner: one central critic for all agents, or a critic for each agent's own observation."""

from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import Rollout
from harl_isaac.env import EnvSpec
from harl_isaac.learning.critic_fit import fit_critic
from harl_isaac.learning.joint_critic_fit import JointCriticFit
from harl_isaac.learning.optimizers import adam, restore
from harl_isaac.networks.critic import Critic, new_critic, new_stacked_critics
from harl_isaac.networks.gru import SequenceStart


class Estimate(NamedTuple):
    """Values of a rollout's states and of their true successors, before anything is fitted."""

    normalized: Tensor  # [T, E, V] in the critic's units
    value: Tensor  # [T, E, V] in units of the return
    next_value: Tensor  # [T, E, V]


class ValueFunction:
    """A critic, its optimizer and, if it is recurrent, its state, for states [T, E, K, S].

    The critic has one or more outputs for each state: V columns in all. `cfg` is an OnPolicyCfg.
    """

    def __init__(self, critic: Critic, agents: int, spec: EnvSpec, cfg: Any):
        self.cfg = cfg
        self.agents = agents
        self.critic = critic
        self.optimizer = adam(self.critic.parameters(), cfg.critic_lr, cfg.adam_eps)
        hidden_size = cfg.hidden[-1] if cfg.recurrent else 0
        self.hidden = torch.zeros((spec.num_envs * agents, hidden_size), device=spec.device)  # [E K, H] after a rollout
        self.sequence: Optional[SequenceStart] = None  # of the rollout that `estimate` was given

    @torch.no_grad()
    def estimate(self, rollout: Rollout, state: Tensor, next_state: Tensor) -> Estimate:
        """Values of states [T, E, K, S] and of their successors, in two batched passes."""
        if self.cfg.recurrent:
            normalized, next_normalized = self._unroll(rollout, state, next_state)
        else:
            normalized = self.critic.normalized(state).flatten(2)
            next_normalized = self.critic.normalized(next_state).flatten(2)
        denormalize = self.critic.normalizer.denormalize
        return Estimate(normalized, denormalize(normalized), denormalize(next_normalized))

    def fit(self, rollout: Rollout, state: Tensor, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Fit to targets [T, E, V], given the old normalized values; returns metrics."""
        rows = self._as_batch(rollout, state)
        old_rows = self._as_batch(rollout, old.unflatten(2, (self.agents, -1)))
        target_rows = self._as_batch(rollout, target.unflatten(2, (self.agents, -1)))
        return fit_critic(self.critic, self.optimizer, rows, old_rows, target_rows, self.cfg, self.sequence)

    def update_input_norm(self, state: Tensor) -> None:
        """Update the running moments of inputs, if there are any, by states [T, E, K, S]."""
        if self.critic.net.input_norm is not None:
            self.critic.net.input_norm.update(state.flatten(0, 2))

    def state_dict(self) -> Dict[str, Any]:
        """Everything needed to continue exactly."""
        return {
            "critic": self.critic.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "hidden": self.hidden if self.cfg.recurrent else None,
        }

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a value function of the same sizes."""
        self.critic.load_state_dict(state["critic"])
        restore([self.optimizer], [state["optimizer"]])
        if self.cfg.recurrent:
            restore_rows(self.hidden, state["hidden"])

    @staticmethod
    def _as_batch(rollout: Rollout, value: Tensor) -> Tensor:
        """[T, E, K, S] as rows [B K, S] or sequences [N K, L, S]."""
        return rollout.as_batch(value).movedim(-2, 1).flatten(0, 1)

    def _unroll(self, rollout: Rollout, state: Tensor, next_state: Tensor) -> Tuple[Tensor, Tensor]:
        """Normalized values along the rollout, from the state that the last one ended with.

        A successor is one step on from its state.
        """
        starts = rollout.episode_starts().t()[:, None].expand(-1, self.agents, -1).flatten(0, 1)  # [E K, T]
        x = self._by_env(state)
        next_x = self._by_env(next_state)
        out, after = self.critic.net.run(x, SequenceStart(self.hidden, starts))
        assert after is not None  # the network is recurrent
        alone = torch.zeros_like(starts).flatten()[:, None]
        next_start = SequenceStart(after.flatten(0, 1), alone)
        next_out = self.critic.net(next_x.flatten(0, 1)[:, None], next_start).reshape(out.shape)
        self._remember(rollout, after, starts)
        return self._by_time(out, state), self._by_time(next_out, state)

    def _remember(self, rollout: Rollout, after: Tensor, starts: Tensor) -> None:
        """Keep the states that sequences start from, and the last one, from those `after` each step [E K, T, H]."""
        before = torch.cat((self.hidden[:, None], after[:, :-1]), 1).masked_fill(starts[..., None], 0.0)
        chunk_starts = before[:, :: self.cfg.chunk_length].transpose(0, 1)  # [T/L, E K, H]
        episode_starts = rollout.episode_starts()[..., None, None].expand(-1, -1, self.agents, -1)
        self.sequence = SequenceStart(chunk_starts.flatten(0, 1), self._as_batch(rollout, episode_starts)[..., 0])
        done = (rollout.terminated | rollout.truncated)[-1].expand(-1, self.agents).flatten()
        self.hidden.copy_(after[:, -1].masked_fill(done[:, None], 0.0))

    @staticmethod
    def _by_env(state: Tensor) -> Tensor:
        """[T, E, K, S] -> [E K, T, S]"""
        return state.permute(1, 2, 0, 3).flatten(0, 1)

    def _by_time(self, value: Tensor, state: Tensor) -> Tensor:
        """[E K, T, values] -> [T, E, V], for states [T, E, K, S]."""
        length, envs = state.shape[:2]
        return value.view(envs, self.agents, length, -1).permute(2, 0, 1, 3).flatten(2)


def restore_rows(own: Tensor, saved: Tensor) -> None:
    """Copy saved recurrent states [E, ...]; of another number of environments they are of no use: zeros."""
    if own.shape[1:] != saved.shape[1:]:
        raise RuntimeError(f"recurrent states are {tuple(saved.shape)}, not {tuple(own.shape)}")
    own.copy_(saved if len(own) == len(saved) else torch.zeros_like(own))


class CentralCritic:
    """V(s): one network for the environment's state, or for each agent's state (K = A) with shared weights."""

    uses_observations = False

    def __init__(self, spec: EnvSpec, cfg: Any):
        values = spec.reward_agents if spec.state_agents == 1 else 1  # one state, a reward for each agent: A outputs
        critic = new_critic(
            spec.state_size,
            cfg.hidden,
            cfg.activation,
            spec.device,
            values,
            cfg.recurrent,
            input_norm=cfg.input_norm,
            layer_norm=cfg.layer_norm,
        )
        self.function = ValueFunction(critic, spec.state_agents, spec, cfg)

    @property
    def functions(self) -> List[ValueFunction]:
        """The one value function."""
        return [self.function]

    def estimate(self, rollout: Rollout) -> Estimate:
        """Values of all states of a rollout, [T, E, V]; V is 1 or A."""
        return self.function.estimate(rollout, rollout.state, rollout.next_state)

    def fit(self, rollout: Rollout, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Fit to targets [T, E, V], given the old normalized values; returns metrics."""
        return self.function.fit(rollout, rollout.state, old, target)

    def update_input_norm(self, rollout: Rollout) -> None:
        """Update the running moments of inputs by the rollout's states."""
        self.function.update_input_norm(rollout.state)


class PerAgentCritics:
    """V_i(o_i): a network for each agent, whose input is the agent's observation (IPPO)."""

    uses_observations = True

    def __init__(self, spec: EnvSpec, cfg: Any):
        self.sizes = spec.obs_sizes
        self.critics = new_stacked_critics(
            spec.obs_sizes, cfg.hidden, cfg.activation, spec.device, cfg.recurrent, cfg.input_norm, cfg.layer_norm
        )
        self.functions = [ValueFunction(critic, 1, spec, cfg) for critic in self.critics.each]
        self.joint: Optional[JointCriticFit] = None  # of recurrent critics, one after the other
        if not cfg.recurrent:
            self.joint = JointCriticFit(self.critics, [function.optimizer for function in self.functions], cfg)

    @torch.no_grad()
    def estimate(self, rollout: Rollout) -> Estimate:
        """Values of all agents' observations, [T, E, A]."""
        if self.joint is not None:
            assert rollout.next_obs is not None  # the rollout keeps it for these critics
            normalized = self.joint.normalized(rollout.obs)
            next_normalized = self.joint.normalized(rollout.next_obs)
            denormalize = self.critics.normalizer.denormalize
            return Estimate(normalized, denormalize(normalized), denormalize(next_normalized))
        each = []
        for i, function in enumerate(self.functions):
            each.append(function.estimate(rollout, self._own(rollout.obs, i), self._own(rollout.next_obs, i)))
        return Estimate(*[torch.cat(values, 2) for values in zip(*each)])

    def fit(self, rollout: Rollout, old: Tensor, target: Tensor) -> Dict[str, Tensor]:
        """Fit each critic to its own column of targets [T, E, A]; metrics are means over agents."""
        if self.joint is not None:
            return self.joint.fit(rollout.obs, old, target)
        metrics = []
        for i, function in enumerate(self.functions):
            own = slice(i, i + 1)
            metrics.append(function.fit(rollout, self._own(rollout.obs, i), old[:, :, own], target[:, :, own]))
        return {name: torch.stack([values[name] for values in metrics]).mean() for name in metrics[0]}

    def update_input_norm(self, rollout: Rollout) -> None:
        """Update the running moments of each critic's inputs by its agent's observations."""
        for i, function in enumerate(self.functions):
            function.update_input_norm(self._own(rollout.obs, i))

    def _own(self, obs: Optional[Tensor], i: int) -> Tensor:
        """Agent i's observations [T, E, 1, O_i] of padded ones [T, E, A, O]."""
        assert obs is not None  # the rollout keeps next_obs for these critics
        return obs[:, :, i : i + 1, : self.sizes[i]]
