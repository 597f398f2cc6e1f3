"""Importing it registers tasks."""

from types import SimpleNamespace

import gymnasium
from isaaclab.envs import FakeDirectMARLEnv, FakeDirectRLEnv

from isaaclab_tasks.game import ManyTask, OneTask


class FakeCfg(SimpleNamespace):
    """Both kinds' settings at once."""

    def __init__(self):
        super().__init__(
            scene=SimpleNamespace(num_envs=1), sim=SimpleNamespace(device="cuda:0", dt=0.05, render_interval=2), decimation=2,
            episode_length_s=0.7, only_near_falls=False, possible_agents=["near", "far"],
            observation_spaces={"near": 5, "far": 3}, action_spaces={"near": 2, "far": {4}}, observation_space=5, action_space=3,
            state_space=0, seed=None)

    def from_dict(self, values):
        for key, value in values.items():
            if not hasattr(self, key):
                raise KeyError("[Config]: Key not found under namespace: /" + key)
            setattr(self, key, value)


class FakeManyEnv(ManyTask, FakeDirectMARLEnv):
    def __init__(self, cfg, render_mode=None, env_cfg_entry_point=None):
        super().__init__(cfg, render_mode)


class FakeOneEnv(OneTask, FakeDirectRLEnv):
    def __init__(self, cfg, render_mode=None, env_cfg_entry_point=None):
        super().__init__(cfg, render_mode)


for name, entry in (("Isaac-Shadow-Hand-Over-Direct-v0", FakeManyEnv), ("Isaac-Alone-Direct-v0", FakeOneEnv)):
    gymnasium.registry.pop(name, None)
    gymnasium.register(name, entry, disable_env_checker=True, kwargs={"env_cfg_entry_point": FakeCfg})
