"""Particle worlds the slow way: mpe2 itself put into a given state, and the old version's step written out."""

import importlib
import math

import numpy as np

MODULES = {
    "mpe/simple_spread": "simple_spread_v3",
    "mpe/simple_reference": "simple_reference_v3",
    "mpe/simple_speaker_listener": "simple_speaker_listener_v4",
}


class Original:
    """mpe2's environment of the same name, in the state of one row of ours."""

    def __init__(self, task, **settings):
        module = importlib.import_module("mpe2." + MODULES[task.cfg.name])
        settings["max_cycles"] = task.spec.max_episode_steps
        self.env = module.parallel_env(continuous_actions=task.cfg.continuous, **settings)
        self.task = task

    def place(self, row):
        """A new episode from the state of our row."""
        self.env.reset(seed=0)
        self.raw = self.env.unwrapped
        task = self.task
        for i, agent in enumerate(self.raw.world.agents):
            agent.state.p_pos = task.agent[row, i].numpy().astype(float)
            agent.state.p_vel = np.zeros(2)
            if i in task.mobile_agents:
                agent.state.p_vel = task.velocity[row, task.mobile_agents.index(i)].numpy().astype(float)
        for i, landmark in enumerate(self.raw.world.landmarks):
            landmark.state.p_pos = task.landmark[row, i].numpy().astype(float)
        for i in range(task.goals):
            same = (task.landmark[row] == task.goal[row, i]).all(1).tolist()
            assert sum(same) == 1
            self.raw.world.agents[i].goal_b = self.raw.world.landmarks[same.index(True)]
        return self.observe()

    def observe(self):
        """Observations of all agents, and the state."""
        return [self.raw.observe(name) for name in self.raw.possible_agents], self.raw.state()

    def step(self, actions):
        """Rewards of all agents, terminated, truncated."""
        names = self.raw.possible_agents
        given = {name: action if self.task.cfg.continuous else int(action[0]) for name, action in zip(names, actions)}
        _, reward, terminated, truncated, _ = self.env.step(given)
        return [reward[name] for name in names], any(terminated.values()), all(truncated.values())


def old_push(action, continuous):
    """Push [2] of one agent's action, as PettingZoo 1.22 read it: numbers for right and up push left and down."""
    if continuous:
        return np.array([action[1] - action[2], action[3] - action[4]])
    return {
        0: np.zeros(2),
        1: np.array([-1.0, 0.0]),
        2: np.array([1.0, 0.0]),
        3: np.array([0.0, -1.0]),
        4: np.array([0.0, 1.0]),
    }[int(action[0]) % 5]


def old_step(position, velocity, push, radius):
    """PettingZoo 1.22's step of discs at [A, 2] that touch at 2 x radius (None: never): velocity before position."""
    force = 5.0 * push
    for a in range(len(position)):
        for b in range(len(position)):
            if a == b or radius is None:
                continue
            away = position[a] - position[b]
            apart = math.sqrt(away[0] ** 2 + away[1] ** 2)
            penetration = np.logaddexp(0.0, (2.0 * radius - apart) / 1e-3) * 1e-3
            force[a] = force[a] + 100.0 * penetration * away / apart
    velocity = 0.75 * velocity + 0.1 * force
    return position + 0.1 * velocity, velocity


def old_spread_rewards(position, landmark, radius, local_ratio):
    """Rewards [A], where every disc collides with itself as well."""
    shared = -sum(min(math.dist(one, mark) for one in position) for mark in landmark)
    own = [-sum(math.dist(one, other) < 2.0 * radius for other in position) for one in position]
    return [(1.0 - local_ratio) * shared + local_ratio * reward for reward in own]
