"""A game that counts, behind the buffers of a hand task. Observed are [env, episode, progress] / 100 and a position that
actions move, in each hand's block and in the tail. In every second episode the object falls after 2 + env % 5 steps."""

import os

import torch

from bidexhands.tasks.hand_base.base_task import BaseTask


class FakeHands(BaseTask):
    num_states = 211  # declared, never filled
    num_hand_obs = 187

    def __init__(self, cfg, sim_params, device_type, device_id, headless, agent_index):
        assert os.path.isfile("../assets/hand.xml"), "assets are found from the package's own folder only"
        self.cfg = cfg
        self.sim_params = sim_params
        self.headless = headless
        self.agent_index = agent_index
        self.max_episode_length = cfg["env"]["episodeLength"]
        super().__init__(cfg, device_type, device_id)
        self.episode = torch.zeros_like(self.progress_buf)
        self.position = torch.zeros_like(self.rew_buf)
        self.successes = torch.zeros_like(self.rew_buf)
        self.consecutive_successes = torch.zeros(1, device=self.device)
        self.blow_up = torch.zeros_like(self.reset_buf, dtype=torch.bool)  # set by a test

    def create_sim(self):
        self.sim = super().create_sim(self.device_id, self.graphics_device_id, "physx", self.sim_params)

    def reset_idx(self, env_ids):
        noise = torch.rand(len(env_ids), device=self.device)
        self.position[env_ids] = self.cfg["env"]["startNoise"] * noise
        self.episode[env_ids] += 1
        self.progress_buf[env_ids] = 0
        self.successes[env_ids] = 0
        self.reset_buf[env_ids] = 0

    def pre_physics_step(self, actions):
        env_ids = self.reset_buf.nonzero(as_tuple=False).squeeze(-1)
        if len(env_ids) > 0:
            self.reset_idx(env_ids)
        self.actions = actions.clone()
        self.position += 0.1 * actions.mean(1)

    def post_physics_step(self):
        self.progress_buf += 1
        row = torch.arange(self.num_envs, device=self.device)
        self.obs_buf.zero_()
        for first in (0, 187, 374):
            self.obs_buf[:, first:first + 3] = torch.stack((row, self.episode, self.progress_buf), 1) / 100
            self.obs_buf[:, first + 3] = self.position
        self.obs_buf[:, 10] = 50.0  # the wrapper clips to 5
        self.obs_buf[self.blow_up] = float("nan")
        self.rew_buf[:] = self.progress_buf + self.position
        self.successes[:] = torch.where(self.progress_buf >= 4, torch.ones_like(self.successes), self.successes)
        fallen = (self.episode % 2 == 0) & (self.progress_buf >= 2 + row % 5)
        self.reset_buf[:] = (fallen | (self.progress_buf >= self.max_episode_length)).long()
        ended = self.reset_buf.float()
        self.consecutive_successes[:] = torch.where(ended > 0, self.successes, self.consecutive_successes).mean()
        self.extras["successes"] = self.successes
        self.extras["consecutive_successes"] = self.consecutive_successes
