"""Tasks of Isaac Lab (Mittal et al., 2023), multi-agent ones (DirectMARLEnv) and, as a single agent, DirectRLEnv.

Ends. Isaac Lab resets within the step, so what it returns already belongs to the next episode. With
task.true_successors=true the task is asked for its observations once more just before it resets (`_reset_idx`), which costs
one more call of `_get_observations` in steps where an episode ends, without the task's observation noise. That needs a task
whose `_get_observations` may be called twice in a step. For one that counts or keeps a history there, set it to false: then
the view before the last action stands in for the lost one, and a time limit is worth V(s) where it should be worth V(s'),
wrong by one step's change. An episode ends where Isaac Lab resets: all agents terminated, or all timed out.

The critic's state is the task's own (`state_space` above zero), else all agents' observations in a row. Observations and
rewards are copies: Isaac Lab returns its own buffers. A task without action bounds gets actions within
+-task.action_bound, which is what Isaac Lab's hands scale their joints by.
"""

from dataclasses import dataclass, field
from typing import Any, Dict, List, NamedTuple, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.adapters.in_process import OwnRandom, Unsavable
from harl_isaac.adapters.isaaclab.app import simulation
from harl_isaac.adapters.isaaclab.spaces import ActionOf, flat_size
from harl_isaac.env import EnvSpec, Step
from harl_isaac.settings import TaskCfg


@dataclass
class IsaacLabCfg(TaskCfg):
    """Settings of every task of Isaac Lab; `options` reach its own configuration class."""

    name: str = "isaaclab/Isaac-Shadow-Hand-Over-Direct-v0"
    team_reward: bool = True  # the agents' mean for all; false: each its own
    true_successors: bool = True  # see the module's first lines
    action_bound: float = 1.0  # where the task names none
    headless: bool = True
    cameras: bool = False  # for tasks that observe pictures
    modules: List[str] = field(default_factory=lambda: ["isaaclab_tasks"])  # that register tasks, your own among them
    options: Dict[str, Any] = field(default_factory=dict)  # task.options.episode_length_s=2.5

    def make(self, num_envs: int, device: torch.device, sim: str) -> "IsaacLabEnv":
        return IsaacLabEnv(self, num_envs, device)


class View(NamedTuple):
    """Copies of what agents and critic see."""

    obs: Tuple[Tensor, ...]  # A x [E, O_i]
    state: Tensor  # [E, 1, S]


class ManyAgents:
    """A DirectMARLEnv."""

    def __init__(self, env):
        self.env = env
        self.agents = tuple(env.possible_agents)
        self.obs_spaces = [env.observation_spaces[agent] for agent in self.agents]
        self.action_spaces = [env.action_spaces[agent] for agent in self.agents]
        given = env.cfg.state_space  # -1: observations in a row; 0: none, though env.state_space is a Box of nothing
        space = None if given is None or (isinstance(given, int) and given <= 0) else env.state_space
        self.state_size = 0 if space is None else flat_size("the state", space)

    def step(self, actions: List[Tensor]):
        """Observations by agent, then rewards, terminated, time-outs, each A x [E]."""
        obs, *others, _ = self.env.step(dict(zip(self.agents, actions)))
        return (obs, *[[each[agent] for agent in self.agents] for each in others])

    def parts(self, obs: Dict[str, Tensor]) -> Tuple[List[Tensor], Optional[Tensor]]:
        """Agents' observations, and the task's own state if it has one."""
        return [obs[agent] for agent in self.agents], self.env._get_states() if self.state_size else None


class OneAgent:
    """A DirectRLEnv."""

    agents = ("agent",)

    def __init__(self, env):
        self.env = env
        self.obs_spaces = [env.single_observation_space["policy"]]
        self.action_spaces = [env.single_action_space]
        given = env.single_observation_space.spaces.get("critic")
        self.state_size = 0 if given is None else flat_size("the state", given)

    def step(self, actions: List[Tensor]):
        """As ManyAgents.step."""
        obs, reward, terminated, late, _ = self.env.step(actions[0])
        return obs, [reward], [terminated], [late]

    def parts(self, obs: Dict[str, Tensor]) -> Tuple[List[Tensor], Optional[Tensor]]:
        """As ManyAgents.parts."""
        return [obs["policy"]], obs["critic"] if self.state_size else None


class IsaacLabEnv(Unsavable):
    """Agents as the task names them; see the module's first lines."""

    def __init__(self, cfg: IsaacLabCfg, num_envs: int, device: torch.device):
        self.cfg = cfg
        self.random = OwnRandom(device)
        with self.random:
            self.env = simulation(cfg.name.partition("/")[2], cfg, num_envs, device)
        self.task = ManyAgents(self.env) if hasattr(self.env, "possible_agents") else OneAgent(self.env)
        sizes = tuple(flat_size(agent, space) for agent, space in zip(self.task.agents, self.task.obs_spaces))
        self.actions = [
            ActionOf(agent, space, cfg.action_bound, device)
            for agent, space in zip(self.task.agents, self.task.action_spaces)
        ]
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=self.task.agents,
            obs_sizes=sizes,
            actions=tuple(each.space for each in self.actions),
            state_size=self.task.state_size or sum(sizes),
            max_episode_steps=int(self.env.max_episode_length),
            device=device,
            reward_agents=1 if cfg.team_reward else len(self.task.agents),
            metrics=("diverged",),
            exclusive=True,
        )
        self._last: Optional[View] = None  # what was seen before the resets of this step
        self._stepping = False
        self._reset_idx = self.env._reset_idx
        self.env._reset_idx = self._look_before_reset

    def reset(self, seed: Optional[int] = None) -> Step:
        with self.random:
            obs, _ = self.env.reset(seed=seed)
            self._seen = self._copied(obs)
        return Step.first(self.spec, *self._seen)

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        before = self._seen
        self._last = None
        self._stepping = True
        with self.random:
            obs, rewards, terminated, late = self.task.step([of(action) for of, action in zip(self.actions, actions)])
            self._stepping = False
            self._seen = self._copied(obs)
        over, late = [torch.stack(each).bool().all(0) for each in (terminated, late)]
        reward = torch.stack(rewards, 1).float().reshape(self.spec.num_envs, -1)
        reward = reward.mean(1, keepdim=True) if self.cfg.team_reward else reward
        return self._step(before, reward, over, late & ~over)

    def close(self) -> None:
        """Isaac Sim itself ends with the process."""
        self.env.close()

    def _step(self, before: View, reward: Tensor, over: Tensor, late: Tensor) -> Step:
        """The Step of what is seen now, after what was seen `before` the action."""
        done = over | late
        seen = self._seen
        last = before if self._last is None else self._last
        following = self._seen
        if self._last is not None or not self.cfg.true_successors:
            following = View(
                tuple(torch.where(done[:, None], then, now) for then, now in zip(last.obs, seen.obs)),
                torch.where(done[:, None, None], last.state, seen.state),
            )
        values = torch.cat((*seen.obs, *following.obs, seen.state[:, 0], following.state[:, 0], reward), 1)
        return self._finite(Step(*seen, reward, over, late, *following), ~torch.isfinite(values).all(1))

    def _finite(self, step: Step, diverged: Tensor) -> Step:
        """A simulation that blew up ends its episode: zeros now, and a reset with the next step, as if it were late."""
        self.env.episode_length_buf.masked_fill_(diverged, self.spec.max_episode_steps)
        rows = diverged[:, None]
        obs, next_obs = [tuple(each.masked_fill(rows, 0.0) for each in group) for group in (step.obs, step.next_obs)]
        state, next_state = [each.masked_fill(rows[..., None], 0.0) for each in (step.state, step.next_state)]
        return Step(
            obs,
            state,
            step.reward.masked_fill(rows, 0.0),
            step.terminated | diverged,
            step.truncated & ~diverged,
            next_obs,
            next_state,
            {"diverged": diverged.float()},
        )

    def _look_before_reset(self, rows, *args, **kwargs):
        if self._stepping and self.cfg.true_successors:
            self._last = self._copied(self.env._get_observations())
        return self._reset_idx(rows, *args, **kwargs)

    def _copied(self, obs: Dict[str, Tensor]) -> View:
        parts, state = self.task.parts(obs)
        flat = [part.reshape(self.spec.num_envs, -1).to(torch.float32, copy=True) for part in parts]
        state = (
            torch.cat(flat, 1) if state is None else state.reshape(self.spec.num_envs, -1).to(torch.float32, copy=True)
        )
        return View(tuple(flat), state[:, None])
