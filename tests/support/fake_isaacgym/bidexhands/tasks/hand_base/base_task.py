"""The order of one step as in the real one: resets at its start, in what ended with the step before."""

import torch

CREATED = []  # (compute device, graphics device) of each simulation


class FakeBaseTask:
    def __init__(self, cfg, device_type, device_id):
        self.device = f"{device_type}:{device_id}" if device_type == "cuda" else "cpu"
        self.device_id = self.graphics_device_id = device_id  # whatever draws
        self.num_envs = cfg["env"]["numEnvs"]
        self.num_obs = cfg["env"]["numObservations"]
        self.num_actions = cfg["env"]["numActions"]
        self.obs_buf = torch.zeros(self.num_envs, self.num_obs, device=self.device)
        self.rew_buf = torch.zeros(self.num_envs, device=self.device)
        self.reset_buf = torch.ones(self.num_envs, device=self.device, dtype=torch.long)
        self.progress_buf = torch.zeros(self.num_envs, device=self.device, dtype=torch.long)
        self.extras = {}
        self.create_sim()

    def create_sim(self, compute_device, graphics_device, physics_engine, sim_params):
        if graphics_device == 99:
            print("*** Failed to create sim")
            quit()
        CREATED.append((compute_device, graphics_device))
        return object()

    def step(self, actions):
        self.pre_physics_step(actions)
        self.post_physics_step()


BaseTask = FakeBaseTask
