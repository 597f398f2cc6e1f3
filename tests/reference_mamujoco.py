"""The original: gymnasium-robotics' mamujoco_v1, one environment at a time, beside which ours are played."""

import gymnasium
import mujoco
import numpy as np
from gymnasium_robotics import mamujoco_v1
from gymnasium_robotics.envs.multiagent_mujoco.obsk import get_parts_and_edges

# Factorisations that mamujoco_v1 has; others are regrouped from the first.
OWN = {"HalfCheetah": ("2x3", "6x1"), "Ant": ("2x4", "2x4d", "4x2"), "Hopper": ("3x1",), "Walker2d": ("2x3",)}


class Original:
    """A gymnasium environment, and mamujoco_v1's view of it for each obsk."""

    def __init__(self, scenario, agents, actuators, groups, obsks, episode_length):
        self.env = gymnasium.make(scenario + "-v5", max_episode_steps=episode_length)
        how = {"agent_conf": agents}
        if agents not in OWN[scenario]:
            how = {"agent_conf": OWN[scenario][0], "agent_factorization": regrouped(scenario, actuators, groups)}
        self.views = [mamujoco_v1.parallel_env(scenario, agent_obsk=obsk, gym_env=self.env, **how) for obsk in obsks]
        self.base = self.env.unwrapped

    def forces_as_sensors_have_them(self, model):
        """cfrc_ext of the last substep's start, as a model with a force sensor computes it; zero after a reset."""
        base = self.base
        base.model, base.data = model, mujoco.MjData(model)

        def simulate(ctrl, substeps):
            base.data.ctrl[:] = ctrl
            mujoco.mj_step(model, base.data, nstep=substeps)

        base._step_mujoco_simulation = simulate

    def reset(self, seed):
        self.env.reset(seed=seed)
        self.base.data.cfrc_ext[:] = 0.0
        return self.base.data.qpos.copy(), self.base.data.qvel.copy()

    def step(self, actions):
        """Per-agent actions -> reward, terminated, truncated."""
        view = self.views[0]
        named = dict(zip(view.possible_agents, actions))
        _, reward, terminated, truncated, _ = self.env.step(view.map_local_actions_to_global_action(named))
        return reward, terminated, truncated

    def obs(self, number):
        """What the agents see under the `number`-th obsk."""
        view = self.views[number]
        return [np.asarray(view._get_obs()[name]) for name in view.possible_agents]

    def state(self):
        return self.base._get_obs()


def regrouped(scenario, actuators, groups):
    """mamujoco_v1's nodes of the same joints in other groups."""
    parts, edges, trunk = get_parts_and_edges(scenario, OWN[scenario][0])
    nodes = {node.act_ids: node for part in parts for node in part}
    partition = [tuple(nodes[actuators.index(joint)] for joint in group) for group in groups]
    return {"partition": partition, "edges": edges, "globals": trunk}
