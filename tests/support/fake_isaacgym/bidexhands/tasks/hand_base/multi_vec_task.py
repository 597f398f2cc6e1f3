"""The wrapper's shapes and types: obs [E, A, O], state [E, A, S], reward [E, A, 1], done [E, A] int64, an empty info."""

from types import SimpleNamespace

import torch

WIDTHS = (2, 3, 3, 3, 4, 5)


def box(width):
    return SimpleNamespace(shape=(width,))


class FakeMultiVecTaskPython:
    def __init__(self, task, rl_device, clip_observations=5.0, clip_actions=1.0):
        self.task = task
        self.rl_device = rl_device
        self.clip_obs = clip_observations
        self.clip_actions = clip_actions
        self.groups = task.agent_index[0]
        self.num_agents = 2 * len(self.groups)
        self.num_envs = task.num_envs
        own = task.num_obs - task.num_hand_obs
        all_ = task.num_obs
        base = task.num_actions - 20  # free bases: six more for the palm
        widths = [sum(WIDTHS[part] + base * (part == 0) for part in group) for group in self.groups]
        self.observation_space = [box(own)] * self.num_agents
        self.share_observation_space = [box(all_)] * self.num_agents
        self.action_space = tuple(map(box, widths * 2))

    def step(self, actions):
        self.task.step(torch.hstack(list(actions)).clamp(-self.clip_actions, self.clip_actions))
        obs = self.task.obs_buf.clamp(-self.clip_obs, self.clip_obs)
        hand = self.task.num_hand_obs
        sides = [torch.cat((obs[:, k * hand:(k + 1) * hand], obs[:, 2 * hand:]), 1) for k in range(2)]
        count = self.num_agents // 2
        agents = self.num_agents
        return (torch.stack([sides[0]] * count + [sides[1]] * count).transpose(0, 1), torch.stack([obs] * agents).transpose(0, 1),
                torch.stack([self.task.rew_buf[:, None]] * agents).transpose(0, 1),
                torch.stack([self.task.reset_buf] * agents).transpose(0, 1), torch.zeros(agents, 0), None)

    def reset(self):
        raise AssertionError("the real one does not reset: it takes a step with random actions")
