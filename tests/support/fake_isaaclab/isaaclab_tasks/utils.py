"""Configurations by a task's name."""

import gymnasium


def parse_env_cfg(task_name, device="cuda:0", num_envs=None, use_fabric=None):
    cfg = gymnasium.spec(task_name).kwargs["env_cfg_entry_point"]()
    cfg.sim.device = device
    cfg.scene.num_envs = num_envs
    return cfg
