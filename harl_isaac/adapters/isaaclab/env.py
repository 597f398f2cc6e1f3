"""Tasks of Isaac Lab (Mittal et al., 2023): multi-agent ones (DirectMARLEnv) and, as a single agent, DirectRLEnv.

Ends. Isaac Lab resets within the step, so what it returns already belongs to the next episode. With
task.true_successors=true the task is asked for its observations once more just before it resets (`_reset_idx`), which
costs one more call of `_get_observations` in steps where an episode ends, without the task's observation noise. That
needs a task whose `_get_observations` may be called twice in a step. For one that counts or keeps a history there, set
it to false: then the observation before the last action replaces the lost one, and a time limit bootstraps from V(s)
instead of V(s'), wrong by one step's change. An episode ends where Isaac Lab resets: all agents terminated, or all
timed out.

The critic's state is the task's own (`state_space` above zero), else all agents' observations, concatenated.
Observations and rewards are copies: Isaac Lab returns its own buffers. A task without action bounds gets actions within
+-task.action_bound, which is what Isaac Lab's hands scale their joints by.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.adapters.in_process import IsolatedRng, NotCheckpointable
from harl_isaac.adapters.isaaclab.app import make_simulation
from harl_isaac.adapters.isaaclab.spaces import ActionConverter, flat_size
from harl_isaac.env import EnvSpec, Step
from harl_isaac.settings import INFINITY, TaskCfg, check_ranges


@dataclass
class IsaacLabCfg(TaskCfg):
    """Settings of every task of Isaac Lab; `options` reach its own configuration class."""

    name: str = "isaaclab/Isaac-Shadow-Hand-Over-Direct-v0"
    team_reward: bool = True  # the agents' mean for all; false: each its own
    true_successors: bool = True  # see the module's docstring
    action_bound: float = 1.0  # where the task names none
    headless: bool = True
    cameras: bool = False  # for tasks that observe pictures
    modules: List[str] = field(default_factory=lambda: ["isaaclab_tasks"])  # that register tasks, your own among them
    options: Dict[str, Any] = field(default_factory=dict)  # task.options.episode_length_s=2.5

    def make(self, num_envs: int, device: torch.device, sim: str) -> "IsaacLabEnv":
        """Build the environments; see `TaskCfg.make`. `sim` is not used."""
        check_ranges(self, [("action_bound", 1e-6, INFINITY)], "task")
        return IsaacLabEnv(self, num_envs, device)


Outcome = Tuple[Dict[str, Tensor], Sequence[Tensor], Sequence[Tensor], Sequence[Tensor]]  # see MultiAgentSim.step


class ObsAndState(NamedTuple):
    """Copies of the agents' observations and of the critic's state."""

    obs: Tuple[Tensor, ...]  # A x [E, O_i]
    state: Tensor  # [E, 1, S]


class MultiAgentSim:
    """A DirectMARLEnv."""

    def __init__(self, env: Any):
        self.env = env
        self.agents: Tuple[str, ...] = tuple(env.possible_agents)
        self.obs_spaces = [env.observation_spaces[agent] for agent in self.agents]
        self.action_spaces = [env.action_spaces[agent] for agent in self.agents]
        declared = env.cfg.state_space  # -1: all observations; 0: none, though env.state_space is a Box of size 0
        has_state = declared is not None and not (isinstance(declared, int) and declared <= 0)
        self.state_size = flat_size("the state", env.state_space) if has_state else 0

    def step(self, actions: Sequence[Tensor]) -> Outcome:
        """Advance by one step; returns observations by agent, then rewards, terminated and timed_out, each A x [E]."""
        obs, rewards, terminated, timed_out, _ = self.env.step(dict(zip(self.agents, actions)))
        return obs, self._in_order(rewards), self._in_order(terminated), self._in_order(timed_out)

    def obs_and_state(self, obs: Dict[str, Tensor]) -> Tuple[List[Tensor], Optional[Tensor]]:
        """Agents' observations A x [E, ...], and the task's own state if it has one."""
        return self._in_order(obs), self.env._get_states() if self.state_size else None

    def _in_order(self, values: Dict[str, Tensor]) -> List[Tensor]:
        return [values[agent] for agent in self.agents]


class SingleAgentSim:
    """A DirectRLEnv."""

    agents = ("agent",)

    def __init__(self, env: Any):
        self.env = env
        self.obs_spaces = [env.single_observation_space["policy"]]
        self.action_spaces = [env.single_action_space]
        critic_space = env.single_observation_space.spaces.get("critic")
        self.state_size = 0 if critic_space is None else flat_size("the state", critic_space)

    def step(self, actions: Sequence[Tensor]) -> Outcome:
        """See MultiAgentSim.step."""
        obs, reward, terminated, timed_out, _ = self.env.step(actions[0])
        return obs, [reward], [terminated], [timed_out]

    def obs_and_state(self, obs: Dict[str, Tensor]) -> Tuple[List[Tensor], Optional[Tensor]]:
        """See MultiAgentSim.obs_and_state."""
        return [obs["policy"]], obs["critic"] if self.state_size else None


class IsaacLabEnv(NotCheckpointable):
    """A task of Isaac Lab. Agents as the task names them."""

    _current: ObsAndState  # after the last reset or step
    _before_reset: Optional[ObsAndState]  # just before the resets of the running step; None if there were none

    def __init__(self, cfg: IsaacLabCfg, num_envs: int, device: torch.device):
        self.cfg = cfg
        self.rng = IsolatedRng(device)
        with self.rng:
            self.env = make_simulation(cfg.name.partition("/")[2], cfg, num_envs, device)
        multi_agent = hasattr(self.env, "possible_agents")
        self.sim: Union[MultiAgentSim, SingleAgentSim] = (MultiAgentSim if multi_agent else SingleAgentSim)(self.env)
        sizes = tuple(flat_size(agent, space) for agent, space in zip(self.sim.agents, self.sim.obs_spaces))
        self.converters = [
            ActionConverter(agent, space, cfg.action_bound, device)
            for agent, space in zip(self.sim.agents, self.sim.action_spaces)
        ]
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=self.sim.agents,
            obs_sizes=sizes,
            actions=tuple(each.space for each in self.converters),
            state_size=self.sim.state_size or sum(sizes),
            max_episode_steps=int(self.env.max_episode_length),
            device=device,
            reward_agents=1 if cfg.team_reward else len(self.sim.agents),
            metrics=("diverged",),
            exclusive=True,
        )
        self._before_reset = None
        self._stepping = False
        self._reset_idx = self.env._reset_idx
        self.env._reset_idx = self._copy_and_reset

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start new episodes, see `MultiAgentEnv.reset`."""
        with self.rng:
            obs, _ = self.env.reset(seed=seed)
            self._current = self._copy(obs)
        return Step.first(self.spec, *self._current)

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Advance by one step, see `MultiAgentEnv.step`; a diverged environment ends as a failure with zeros."""
        before_action = self._current
        self._before_reset = None
        self._stepping = True
        with self.rng:
            obs, rewards, terminated, timed_out = self.sim.step(
                [convert(action) for convert, action in zip(self.converters, actions)]
            )
            self._stepping = False
            self._current = self._copy(obs)
        reward = torch.stack(list(rewards), 1).float().reshape(self.spec.num_envs, -1)
        if self.cfg.team_reward:
            reward = reward.mean(1, keepdim=True)
        all_terminated = torch.stack(list(terminated)).bool().all(0)
        all_timed_out = torch.stack(list(timed_out)).bool().all(0)
        return self._new_step(before_action, reward, all_terminated, all_timed_out & ~all_terminated)

    def close(self) -> None:
        """Close the environment; Isaac Sim itself ends with the process."""
        self.env.close()

    def _new_step(self, before_action: ObsAndState, reward: Tensor, terminated: Tensor, truncated: Tensor) -> Step:
        """Build the Step to the current observations; `before_action` replaces ended episodes' last ones if unknown."""
        current = self._current
        successor = current
        if self._before_reset is not None or not self.cfg.true_successors:
            done = terminated | truncated
            last = before_action if self._before_reset is None else self._before_reset
            successor = ObsAndState(
                tuple(torch.where(done[:, None], old, new) for old, new in zip(last.obs, current.obs)),
                torch.where(done[:, None, None], last.state, current.state),
            )
        values = torch.cat((*current.obs, *successor.obs, current.state[:, 0], successor.state[:, 0], reward), 1)
        step = Step(*current, reward, terminated, truncated, *successor)
        return self._end_diverged(step, ~torch.isfinite(values).all(1))

    def _end_diverged(self, step: Step, diverged: Tensor) -> Step:
        """End episodes where `diverged` [E]: zeros now, a reset with the next step, as if they had timed out."""
        self.env.episode_length_buf.masked_fill_(diverged, self.spec.max_episode_steps)
        rows = diverged[:, None]
        return Step(
            tuple(obs.masked_fill(rows, 0.0) for obs in step.obs),
            step.state.masked_fill(rows[..., None], 0.0),
            step.reward.masked_fill(rows, 0.0),
            step.terminated | diverged,
            step.truncated & ~diverged,
            tuple(obs.masked_fill(rows, 0.0) for obs in step.next_obs),
            step.next_state.masked_fill(rows[..., None], 0.0),
            {"diverged": diverged.float()},
        )

    def _copy_and_reset(self, rows: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Copy the true last observations where a step ends episodes, then do what the task's `_reset_idx` does."""
        if self._stepping and self.cfg.true_successors:
            self._before_reset = self._copy(self.env._get_observations())
        return self._reset_idx(rows, *args, **kwargs)

    def _copy(self, obs: Dict[str, Tensor]) -> ObsAndState:
        parts, state = self.sim.obs_and_state(obs)
        flat = tuple(self._flat_copy(part) for part in parts)
        flat_state = torch.cat(flat, 1) if state is None else self._flat_copy(state)
        return ObsAndState(flat, flat_state[:, None])

    def _flat_copy(self, value: Tensor) -> Tensor:
        return value.reshape(self.spec.num_envs, -1).to(torch.float32, copy=True)
