"""The choice of a physics engine by name; an engine is imported when it is asked for."""

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Sequence, Tuple, Type

import torch

from harl_isaac.env import MissingSimulator
from harl_isaac.memory import check_fits
from harl_isaac.sim.physics import Physics

if TYPE_CHECKING:  # a type checker holds both engines to the protocol here
    import mujoco

    from harl_isaac.sim.mujoco_cpu import MujocoPhysics
    from harl_isaac.sim.mujoco_warp import WarpPhysics

    CONFORMING: Tuple[Type[Physics], ...] = (MujocoPhysics, WarpPhysics)

ENGINES = {"mujoco": "harl_isaac.sim.mujoco_cpu:MujocoPhysics", "mujoco_warp": "harl_isaac.sim.mujoco_warp:WarpPhysics"}
PACKAGES = {"mujoco": ("mujoco",), "mujoco_warp": ("mujoco", "mujoco_warp", "warp")}  # modules that an engine imports
STATE_BYTES = {"mujoco": 12, "mujoco_warp": 4}  # of each number of the state: MuJoCo's own, and the tensor
PIP_NAMES = {"mujoco": "mujoco", "mujoco_warp": "mujoco-warp", "warp": "warp-lang"}  # module -> package to install


def choose_engine(sim: str, device: torch.device) -> str:
    """Resolve sim=auto to an engine's name and check that the engine is installed.

    Raises ValueError for an unknown engine, MissingSimulator where a package is missing.
    """
    if sim == "auto":
        on_gpu = device.type == "cuda" and all(find_spec(package) for package in PACKAGES["mujoco_warp"])
        sim = "mujoco_warp" if on_gpu else "mujoco"
    if sim not in ENGINES:
        raise ValueError(f"sim={sim} is unknown; possible: auto, {', '.join(ENGINES)}")
    missing = [package for package in PACKAGES[sim] if find_spec(package) is None]
    if missing:
        install = " ".join(PIP_NAMES[package] for package in missing)
        raise MissingSimulator(
            f"sim={sim} needs {' and '.join(missing)}, which is not installed: pip install {install}"
        )
    return sim


def missing_mujoco(task: str, error: ImportError) -> MissingSimulator:
    """The error of a task whose scene cannot be built, with the packages to install."""
    return MissingSimulator(
        f"{task} needs MuJoCo ({error}): pip install mujoco gymnasium-robotics, on Python 3.11 or newer"
    )


def make_physics(
    sim: str,
    model: "mujoco.MjModel",
    num_envs: int,
    substeps: int,
    device: torch.device,
    fields: Sequence[str] = (),
    dtype: torch.dtype = torch.float32,
) -> Physics:
    """`num_envs` copies of a compiled model on the engine `sim` (auto, mujoco, mujoco_warp).

    `fields` names the values of MuJoCo's data that `Physics.derived` holds; float64 is for comparisons and for mujoco
    only. Raises ValueError for an engine, a field or a precision that is not possible, and for more environments than
    there is memory for.
    """
    engine = choose_engine(sim, device)
    needed = STATE_BYTES[engine] * state_numbers(model) * num_envs
    host = torch.device("cpu") if engine == "mujoco" else device
    check_fits(f"num_envs={num_envs} on {engine}", needed, host, "use fewer environments")
    module, name = ENGINES[engine].split(":")
    return getattr(import_module(module), name)(model, num_envs, substeps, device, fields, dtype)


def state_numbers(model: "mujoco.MjModel") -> int:
    """Numbers of an environment that every engine keeps: state, controls, forces on bodies, sensors."""
    state = model.nq + 2 * model.nv + model.nu + 7 * model.nmocap
    return int(state + 6 * model.nbody + model.nsensordata)
