"""A game that counts, as the methods that a direct environment's task has. Observed are env, episode, step of the episode
and a position that actions move. In every second episode it falls after 2 + env % 5 steps; the time limit is 6."""

import torch


class CountingTask:
    """For many agents; `rows` and others live in buffers that are rewritten in place."""

    def _setup_scene(self):
        self.row = torch.arange(self.num_envs, device=self.device)
        self.episode = torch.zeros_like(self.row)
        self.position = torch.zeros(self.num_envs, device=self.device)
        self.live = torch.zeros(self.num_envs, 5, device=self.device)
        self.blow_up = torch.zeros(self.num_envs, dtype=torch.bool, device=self.device)  # set by a test
        self.asked = 0

    def _pre_physics_step(self, actions):
        self.actions = actions

    def _apply_action(self):
        for action in self.actions.values() if isinstance(self.actions, dict) else [self.actions]:
            self.position += 0.05 * action.flatten(1).float().mean(1)

    def _look(self):
        self.asked += 1
        self.live[:, 0] = self.row
        self.live[:, 1] = self.episode
        self.live[:, 2] = self.episode_length_buf
        self.live[:, 3] = torch.where(self.blow_up, torch.full_like(self.position, float("nan")), self.position)
        return self.live

    def _ends(self):
        fallen = (self.episode % 2 == 0) & (self.episode_length_buf >= 2 + self.row % 5)
        return fallen, self.episode_length_buf >= self.max_episode_length - 1

    def _reset_idx(self, env_ids):
        super()._reset_idx(env_ids)
        self.episode[env_ids] += 1
        self.position[env_ids] = 0.1 * torch.rand(len(env_ids), device=self.device)

    def _set_debug_vis_impl(self, debug_vis):
        raise NotImplementedError


class ManyTask(CountingTask):
    """Agents "near" (5 numbers, the buffer itself) and "far" (3 of them); one tensor of ends for both, or one each."""

    def _get_observations(self):
        live = self._look()
        return {"near": live, "far": live[:, :3]}

    def _get_states(self):
        return self.live[:, :4]

    def _get_rewards(self):
        return {"near": self.episode_length_buf.float(), "far": self.position}

    def _get_dones(self):
        fallen, timed_out = self._ends()
        alone = fallen & (self.row == 0) if self.cfg.only_near_falls else fallen
        return {"near": fallen, "far": alone if self.cfg.only_near_falls else fallen}, {"near": timed_out, "far": timed_out}


class OneTask(CountingTask):
    """As "near" above, with the critic's state beside it where one is declared."""

    def _get_observations(self):
        live = self._look()
        return {"policy": live, "critic": live[:, :4]} if self.cfg.state_space else {"policy": live}

    def _get_rewards(self):
        return self.episode_length_buf.float()

    def _get_dones(self):
        return self._ends()
