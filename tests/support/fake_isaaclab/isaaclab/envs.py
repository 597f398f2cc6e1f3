"""Direct environments, for many agents and for one: they reset within the step and return their own buffers."""

import math
import random

import gymnasium
import torch

from isaaclab.app import STARTED
from isaaclab.spaces import spec_to_gym_space

assert STARTED, "nothing of isaaclab may be imported before the app runs"


class FakeDirectEnv(gymnasium.Env):
    def __init__(self, cfg, render_mode=None):
        self.cfg = cfg
        if getattr(cfg, "seed", None) is not None:  # what is drawn before the first reset depends on nothing else
            torch.manual_seed(cfg.seed)
            random.seed(cfg.seed)
        self.terrain = random.random()
        self.num_envs = cfg.scene.num_envs
        self.device = torch.device(cfg.sim.device)
        self.episode_length_buf = torch.zeros(self.num_envs, dtype=torch.long, device=self.device)
        self.reset_buf = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)
        self._setup_scene()

    @property
    def max_episode_length(self):
        return math.ceil(self.cfg.episode_length_s / (self.cfg.sim.dt * self.cfg.decimation))

    def _begin(self, seed):
        if seed is not None:
            torch.manual_seed(seed)  # everybody's
        self._reset_idx(torch.arange(self.num_envs, device=self.device))

    def _advance(self, actions):
        self._pre_physics_step(actions)
        for _ in range(self.cfg.decimation):
            self._apply_action()
        self.episode_length_buf += 1

    def _reset_ended(self):
        ids = self.reset_buf.nonzero(as_tuple=False).squeeze(-1)
        if len(ids) > 0:
            self._reset_idx(ids)

    def _reset_idx(self, env_ids):
        self.episode_length_buf[env_ids] = 0

    def close(self):
        self.closed = True


class FakeDirectMARLEnv(FakeDirectEnv):
    def __init__(self, cfg, render_mode=None):
        super().__init__(cfg, render_mode)
        self.agents = self.possible_agents = cfg.possible_agents
        self.extras = {agent: {} for agent in self.agents}
        self.observation_spaces = {agent: spec_to_gym_space(cfg.observation_spaces[agent]) for agent in self.agents}
        self.action_spaces = {agent: spec_to_gym_space(cfg.action_spaces[agent]) for agent in self.agents}
        width = sum(math.prod(self.observation_spaces[agent].shape) for agent in self.agents)
        below = isinstance(cfg.state_space, int) and cfg.state_space < 0
        self.state_space = spec_to_gym_space(width if below else cfg.state_space)  # Box(0,), not None, where there is none

    def reset(self, seed=None, options=None):
        self._begin(seed)
        self.obs_dict = self._get_observations()
        return self.obs_dict, self.extras

    def step(self, actions):
        self._advance(actions)
        self.terminated_dict, self.time_out_dict = self._get_dones()
        self.reset_buf[:] = math.prod(self.terminated_dict.values()) | math.prod(self.time_out_dict.values())
        self.reward_dict = self._get_rewards()
        self._reset_ended()
        self.obs_dict = self._get_observations()
        return self.obs_dict, self.reward_dict, self.terminated_dict, self.time_out_dict, self.extras


class FakeDirectRLEnv(FakeDirectEnv):
    def __init__(self, cfg, render_mode=None):
        super().__init__(cfg, render_mode)
        self.extras = {}
        self.reset_terminated = torch.zeros_like(self.reset_buf)
        self.reset_time_outs = torch.zeros_like(self.reset_buf)
        self.single_observation_space = gymnasium.spaces.Dict({"policy": spec_to_gym_space(cfg.observation_space)})
        self.single_action_space = spec_to_gym_space(cfg.action_space)
        self.state_space = None
        if cfg.state_space:
            self.single_observation_space["critic"] = spec_to_gym_space(cfg.state_space)

    def reset(self, seed=None, options=None):
        self._begin(seed)
        return self._get_observations(), self.extras

    def step(self, action):
        self._advance(action)
        self.reset_terminated[:], self.reset_time_outs[:] = self._get_dones()
        self.reset_buf = self.reset_terminated | self.reset_time_outs
        self.reward_buf = self._get_rewards()
        self._reset_ended()
        return self._get_observations(), self.reward_buf, self.reset_terminated, self.reset_time_outs, self.extras
