"""Isaac Lab's own base classes of direct environments, from its package, with everything beneath them faked."""

import builtins
import importlib
import math
import subprocess
import sys
import zipfile
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

PACKAGE = "isaaclab==2.3.2.post1"
SOURCE = "isaaclab/source/isaaclab/isaaclab/envs/"
FILES = ("direct_marl_env.py", "direct_rl_env.py", "common.py", "utils/spaces.py")


def downloaded(folder):
    """Download the files into `folder`/envs and return it; where that fails, skip the test with the reason."""
    pip = [sys.executable, "-m", "pip", "download", "--no-deps", "--retries", "0", "--quiet"]
    words = [*pip, "--dest", str(folder), PACKAGE]
    result = subprocess.run(words, capture_output=True, text=True)
    wheels = list(folder.glob("*.whl"))
    if result.returncode or not wheels:
        reason = result.stderr.strip().split("\n")[-1]
        pytest.skip(f"{PACKAGE} cannot be downloaded here: {reason}")
    envs = folder / "envs"
    (envs / "utils").mkdir(parents=True)
    with zipfile.ZipFile(wheels[0]) as wheel:
        for name in FILES:
            (envs / name).write_bytes(wheel.read(SOURCE + name))
    for package in (envs, envs / "utils"):
        (package / "__init__.py").write_text("")
    (envs / "direct_marl_env_cfg.py").write_text("DirectMARLEnvCfg = object\n")
    (envs / "direct_rl_env_cfg.py").write_text("DirectRLEnvCfg = object\n")
    (envs / "ui.py").write_text("ViewportCameraController = object\n")
    return envs


class FakeSimulation:
    """SimulationContext, without a simulation."""

    RenderMode = SimpleNamespace(PARTIAL_RENDERING=1)
    render_mode = 0

    def __init__(self, cfg):
        self.device = cfg.device

    @staticmethod
    def instance():
        return None

    def get_initial_stage(self):
        return None

    def has_gui(self):
        return False

    has_rtx_sensors = has_gui

    def reset(self):
        pass

    clear_all_callbacks = clear_instance = forward = reset

    def step(self, render=True):
        pass


class FakeScene:
    """InteractiveScene, of nothing."""

    def __init__(self, cfg):
        self.num_envs = cfg.num_envs

    def update(self, dt):
        pass

    reset = update

    def write_data_to_sim(self):
        pass


@contextmanager
def nothing(*args, **kwargs):
    yield


def classes(monkeypatch, envs):
    """(DirectMARLEnv, DirectRLEnv) from the files in `envs`."""
    import torch

    stubs = {
        "omni": {},
        "omni.kit": {},
        "omni.kit.app": {},
        "omni.physx": {},
        "isaacsim": {},
        "isaacsim.core": {},
        "isaacsim.core.simulation_manager": {"SimulationManager": object},
        "isaaclab.managers": {"EventManager": object},
        "isaaclab.scene": {"InteractiveScene": FakeScene},
        "isaaclab.sim": {"SimulationContext": FakeSimulation},
        "isaaclab.sim.utils": {},
        "isaaclab.sim.utils.stage": {"attach_stage_to_usd_context": nothing, "use_stage": nothing},
        "isaaclab.utils": {"configclass": lambda cls: cls},
        "isaaclab.utils.noise": {"NoiseModel": object},
        "isaaclab.utils.seed": {"configure_seed": torch.manual_seed},
        "isaaclab.utils.timer": {"Timer": nothing},
        "isaaclab.utils.version": {"get_isaac_sim_version": lambda: SimpleNamespace(major=4)},
    }
    for name, values in stubs.items():
        module = ModuleType(name)
        vars(module).update(values)
        monkeypatch.setitem(sys.modules, name, module)
    for name, module in list(sys.modules.items()):  # import a.b as well as from a import b
        parent, _, leaf = name.rpartition(".")
        if name in stubs and parent in sys.modules:
            monkeypatch.setattr(sys.modules[parent], leaf, module, raising=False)
    monkeypatch.setattr(builtins, "ISAAC_LAUNCHED_FROM_TERMINAL", False, raising=False)
    package = ModuleType("isaaclab.envs")
    package.__path__ = [str(envs)]
    monkeypatch.setitem(sys.modules, "isaaclab.envs", package)
    return (
        importlib.import_module("isaaclab.envs.direct_marl_env").DirectMARLEnv,
        importlib.import_module("isaaclab.envs.direct_rl_env").DirectRLEnv,
    )


def complete(cfg):
    """Add the settings that the real classes read beside the fake's."""
    unset = dict.fromkeys(
        (
            "seed",
            "events",
            "viewer",
            "action_noise_model",
            "observation_noise_model",
            "ui_window_class_type",
            "num_actions",
            "num_observations",
            "num_states",
            "rerender_on_reset",
        )
    )
    vars(cfg).update(
        unset,
        num_rerenders_on_reset=0,
        wait_for_textures=False,
        validate=lambda: None,
        episode_length_s=math.nextafter(0.7, 0.0),
    )
    return cfg
