"""The original: gymnasium-robotics' mamujoco_v1, one environment at a time, beside which ours are played.

Importing this module skips the test module where gymnasium-robotics is not installed. Defects of the original are
repaired here as in our tasks: nodes that represent another joint than their name says.
"""

from importlib import import_module

import mujoco
import numpy as np
import pytest

gymnasium = pytest.importorskip("gymnasium")
mamujoco_v1 = pytest.importorskip("gymnasium_robotics").mamujoco_v1
PACKAGE = "gymnasium_robotics.envs.multiagent_mujoco"
many_segment_ant = import_module(f"{PACKAGE}.many_segment_ant")
many_segment_swimmer = import_module(f"{PACKAGE}.many_segment_swimmer")
obsk_module = import_module(f"{PACKAGE}.obsk")

# Factorizations that mamujoco_v1 has; others are regrouped from the first.
OWN = {
    "HalfCheetah": ("2x3", "6x1"),
    "Ant": ("2x4", "2x4d", "4x2"),
    "Hopper": ("3x1",),
    "Walker2d": ("2x3",),
    "Humanoid": ("9|8",),
    "HumanoidStandup": ("9|8",),
    "Swimmer": ("2x1",),
    "Reacher": ("2x1",),
    "Pusher": ("3p",),
}
SEGMENTED = {"ManySegmentAnt": ("Ant-v5", many_segment_ant), "ManySegmentSwimmer": ("Swimmer-v5", many_segment_swimmer)}


class Original:
    """A gymnasium environment, and mamujoco_v1's view of it for each obsk."""

    def __init__(self, scenario, agents, task, obsks, episode_length, folder):
        if scenario in SEGMENTED:
            name, module = SEGMENTED[scenario]
            file = str(folder / "model.xml")
            module.gen_asset(int(np.prod([int(n) for n in agents.split("x")])), file)
            self.env = gymnasium.make(name, max_episode_steps=episode_length, xml_file=file)
        else:
            self.env = gymnasium.make(scenario + "-v5", max_episode_steps=episode_length)
        self.base = self.env.unwrapped
        how = {"agent_conf": agents}
        if scenario in ("Pusher", "ManySegmentAnt") or agents not in OWN.get(scenario, (agents,)):
            how = {"agent_conf": "", "agent_factorization": self.regrouped(scenario, agents, task)}
        self.views = [mamujoco_v1.parallel_env(scenario, agent_obsk=obsk, gym_env=self.env, **how) for obsk in obsks]

    def forces_as_sensors_have_them(self, model):
        """cfrc_ext of the last substep's start, as a model with a force sensor computes it; zero after a reset."""
        base = self.base
        base.model = model
        base.data = mujoco.MjData(model)

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
        """Observations of the agents under the `number`-th obsk."""
        view = self.views[number]
        return [np.asarray(view._get_obs()[name]) for name in view.possible_agents]

    def state(self):
        return self.base._get_obs()

    def regrouped(self, scenario, agents, task):
        """mamujoco_v1's nodes in our groups, each for the joint that it is meant for."""
        parts, edges, trunk = obsk_module.get_parts_and_edges(scenario, OWN.get(scenario, (agents,))[0])
        model = self.base.model
        actuators = task._actuated
        for node in {node for edge in edges for node in edge.nodes}:
            if scenario == "ManySegmentAnt":
                address = model.joint(node.label)
                node.qpos_ids = int(address.qposadr[0])
                node.qvel_ids = int(address.dofadr[0])
            joint = model.jnt_qposadr.tolist().index(node.qpos_ids % model.nq)
            node.act_ids = actuators.index(model.joint(joint).name)
            if model.joint(joint).name == "r_shoulder_pan_joint":  # of two equal names, the other comes first
                node.label += " "
        own = {actuators[node.act_ids]: node for part in parts for node in part}
        partition = [tuple(own[joint] for joint in group) for group in task.groups()]
        return {"partition": partition, "edges": edges, "globals": trunk}
