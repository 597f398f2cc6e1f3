"""The choice of a physics engine by name; engines are imported when asked for."""

from importlib import import_module
from importlib.util import find_spec
from typing import Sequence

import torch

from harl_isaac.env import MissingSimulator
from harl_isaac.sim.physics import Physics

ENGINES = {"mujoco": "harl_isaac.sim.mujoco_cpu:MujocoPhysics", "mujoco_warp": "harl_isaac.sim.mujoco_warp:WarpPhysics"}
PACKAGES = {"mujoco": ("mujoco",), "mujoco_warp": ("mujoco", "mujoco_warp", "warp")}


def choose_engine(sim: str, device: torch.device) -> str:
    """Resolve sim=auto and check what was asked for. Raises ValueError with what to do."""
    if sim == "auto":
        on_gpu = device.type == "cuda" and all(find_spec(package) for package in PACKAGES["mujoco_warp"])
        sim = "mujoco_warp" if on_gpu else "mujoco"
    if sim not in ENGINES:
        raise ValueError("sim={} is unknown; possible: auto, {}".format(sim, ", ".join(ENGINES)))
    missing = [package for package in PACKAGES[sim] if find_spec(package) is None]
    if missing:
        raise MissingSimulator(
            "sim={} needs {}, which is not installed: pip install {}".format(
                sim,
                " and ".join(missing),
                " ".join({"mujoco_warp": "mujoco-warp", "warp": "warp-lang"}.get(p, p) for p in missing),
            )
        )
    return sim


def missing_mujoco(task: str, error: ImportError) -> MissingSimulator:
    """What to do about a task whose scene cannot be built."""
    return MissingSimulator(
        f"{task} needs MuJoCo ({error}): pip install mujoco gymnasium-robotics, on Python 3.11 or newer"
    )


def make_physics(
    sim: str,
    model,
    num_envs: int,
    substeps: int,
    device: torch.device,
    fields: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
) -> Physics:
    """`num_envs` copies of a compiled MjModel on the engine `sim` (auto, mujoco, mujoco_warp).

    `fields` names derived values of MuJoCo's data to have as tensors; float64 is for comparisons and for mujoco only.
    """
    module, name = ENGINES[choose_engine(sim, device)].split(":")
    return getattr(import_module(module), name)(model, num_envs, substeps, device, fields, dtype)
