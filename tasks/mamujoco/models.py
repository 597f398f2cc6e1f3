"""gymnasium's models as MjSpec, read from the installed package without importing it (which is slow and prints)."""

import os
from importlib.util import find_spec
from typing import Dict, FrozenSet, List

import mujoco

from harl_isaac.tasks.mamujoco.factorisation import tree_edges


def asset(package: str, *path: str) -> str:
    """Full name of a file in an installed package. Raises ValueError where the package is missing."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError("the model comes with %s, which is not installed: pip install gymnasium-robotics" % package)
    return os.path.join(list(spec.submodule_search_locations)[0], *path)


def gymnasium_model(file: str) -> "mujoco.MjSpec":
    """One of gymnasium's MuJoCo models as it is."""
    return mujoco.MjSpec.from_file(asset("gymnasium", "envs", "mujoco", "assets", file))


def measure_external_forces(spec: "mujoco.MjSpec") -> None:
    """Make the engines compute cfrc_ext: they do it for a sensor only."""
    body = spec.worldbody.first_body()
    body.add_site(name="external forces")
    spec.add_sensor(name="external forces", type=mujoco.mjtSensor.mjSENS_FORCE, objtype=mujoco.mjtObj.mjOBJ_SITE,
                    objname="external forces")


def actuated_joints(model: "mujoco.MjModel") -> List[str]:
    """Names of the joints in the order of their actuators."""
    return [model.joint(int(model.actuator_trnid[i, 0])).name for i in range(model.nu)]


def joint_edges(model: "mujoco.MjModel") -> List[FrozenSet[str]]:
    """Which actuated joints are neighbours in the model's kinematic tree."""
    parents = {str(body): str(model.body_parentid[body]) for body in range(1, model.nbody)}
    joints_of: Dict[str, List[str]] = {}
    for name in actuated_joints(model):
        joints_of.setdefault(str(model.joint(name).bodyid[0]), []).append(name)
    return tree_edges(parents, joints_of)
