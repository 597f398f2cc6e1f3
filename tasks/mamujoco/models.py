"""gymnasium's models as MjSpec, read from the installed package without importing it (which is slow and prints)."""

import copy
import os
from importlib.util import find_spec
from typing import Dict, FrozenSet, List, Sequence

import mujoco

from harl_isaac.env import MissingSimulator
from harl_isaac.tasks.mamujoco.factorization import tree_edges


def asset(package: str, *path: str) -> str:
    """Full name of a file in an installed package. Raises MissingSimulator where the package is missing."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise MissingSimulator(
            f"the model comes with {package}, which is not installed: pip install gymnasium-robotics"
        )
    return os.path.join(list(spec.submodule_search_locations)[0], *path)


def gymnasium_model(file: str) -> "mujoco.MjSpec":
    """One of gymnasium's MuJoCo models as it is."""
    return mujoco.MjSpec.from_file(asset("gymnasium", "envs", "mujoco", "assets", file))


def mamujoco_model(file: str) -> "mujoco.MjSpec":
    """One of mamujoco_v1's own models; of a template, the part that is the same for all sizes."""
    with open(asset("gymnasium_robotics", "envs", "multiagent_mujoco", "assets", file), encoding="utf-8") as text:
        return mujoco.MjSpec.from_string(text.read().replace("{{ body }}", "").replace("{{ actuators }}", ""))


def add_limb(
    parent: "mujoco.MjsBody",
    name: str,
    pos: Sequence[float],
    ends: Sequence[float],
    size: float,
    density: float = 0.0,
) -> "mujoco.MjsBody":
    """Add a body at `pos` [m] with a capsule of radius `size` [m] between `ends` (two points, 6 numbers).

    `density` [kg/m^3]: 0 for the model's default.
    """
    body = parent.add_body(name=name, pos=pos)
    geom = body.add_geom(type=mujoco.mjtGeom.mjGEOM_CAPSULE, fromto=ends, size=[size, 0.0, 0.0])
    if density:
        geom.density = density
    return body


def add_hinge(body: "mujoco.MjsBody", name: str, axis: Sequence[float], low: float, high: float) -> None:
    """Add a hinge in the body's origin, limited to [low, high] degrees."""
    body.add_joint(
        name=name,
        type=mujoco.mjtJoint.mjJNT_HINGE,
        axis=axis,
        range=[low, high],
        limited=mujoco.mjtLimited.mjLIMITED_TRUE,
    )


def add_motor(spec: "mujoco.MjSpec", joint: str, gear: float) -> None:
    """Add a motor with controls in [-1, 1]."""
    motor = spec.add_actuator(
        target=joint,
        trntype=mujoco.mjtTrn.mjTRN_JOINT,
        ctrlrange=[-1.0, 1.0],
        ctrllimited=mujoco.mjtLimited.mjLIMITED_TRUE,
    )
    motor.gear[0] = gear


def compiled(spec: "mujoco.MjSpec") -> "mujoco.MjModel":
    """Compile a model. A total mass in the file is set afterwards, as MuJoCo recommends: the compiler warns of it."""
    mass = spec.compiler.settotalmass
    spec.compiler.settotalmass = -1.0
    model = spec.compile()
    if mass > 0:
        mujoco.mj_setTotalmass(model, mass)
        mujoco.mj_setConst(model, mujoco.MjData(model))
    return model


def measure_external_forces(spec: "mujoco.MjSpec") -> None:
    """Add a force sensor: the engines compute cfrc_ext only for one."""
    body = spec.worldbody.first_body()
    body.add_site(name="external forces")
    spec.add_sensor(
        name="external forces",
        type=mujoco.mjtSensor.mjSENS_FORCE,
        objtype=mujoco.mjtObj.mjOBJ_SITE,
        objname="external forces",
    )


def actuated_joints(model: "mujoco.MjModel") -> List[str]:
    """Names of the joints in the order of their actuators."""
    return [model.joint(int(model.actuator_trnid[i, 0])).name for i in range(model.nu)]


def joint_edges(model: "mujoco.MjModel") -> List[FrozenSet[str]]:
    """Sets of actuated joints that are neighbors in the model's kinematic tree."""
    parents = {str(body): str(model.body_parentid[body]) for body in range(1, model.nbody)}
    joints_of: Dict[str, List[str]] = {}
    for name in actuated_joints(model):
        joints_of.setdefault(str(model.joint(name).bodyid[0]), []).append(name)
    return tree_edges(parents, joints_of)


def on_endless_floor(model: "mujoco.MjModel") -> "mujoco.MjModel":
    """A copy whose planes are rendered without an end, as they are simulated."""
    model = copy.copy(model)
    model.geom_size[model.geom_type == mujoco.mjtGeom.mjGEOM_PLANE, :2] = 0.0
    return model
