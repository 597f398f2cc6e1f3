"""The Shadow hand's MuJoCo model, which is OpenAI's as gymnasium-robotics ships it (Apache-2.0).

It is the same file that Bi-DexterousHands uses, and as there both hands are right hands. Physics needs no mesh:
collision shapes are capsules and boxes.
"""

import os
from importlib.util import find_spec

import mujoco

from harl_isaac.tasks.hands.hand import GainsCfg

COUPLING_TENDONS = tuple(f"robot0:T_{digit}J1c" for digit in ("FF", "MF", "RF", "LF"))  # J0 follows J1


def assets_folder() -> str:
    """Folder of gymnasium-robotics' hand models, found without importing the package (which is slow and prints).

    Raises ValueError where the package is not installed.
    """
    spec = find_spec("gymnasium_robotics")
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(
            "the hand model comes with gymnasium-robotics, which is not installed: pip install gymnasium-robotics"
        )
    return os.path.join(list(spec.submodule_search_locations)[0], "envs", "assets", "hand")


def hand_spec(gains: GainsCfg, visual: bool) -> "mujoco.MjSpec":
    """One hand, with names as in the file; `visual` keeps the meshes for rendering."""
    spec = mujoco.MjSpec.from_file(os.path.join(assets_folder(), "reach.xml"))
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    for tendon in list(spec.tendons):
        if tendon.name not in COUPLING_TENDONS:
            spec.delete(tendon)
    _clean_geoms(spec, visual)
    _drop_duplicate_pairs(spec)
    for joint in spec.joints:
        joint.frictionloss = 0.0  # 48 solver rows that are always active, for 0.001 Nm
        joint.damping = joint.damping * gains.damping
    for actuator in spec.actuators:
        actuator.gainprm[0] *= gains.kp
        actuator.biasprm[1] *= gains.kp
        actuator.forcerange = actuator.forcerange * gains.force
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0  # the originals switch gravity off on the hands
    spec.body("robot0:hand mount").pos = [0.0, 0.0, 0.0]  # a task places the mount; its rotation stays
    _unset_sizes(spec)
    return spec


def _unset_sizes(spec: "mujoco.MjSpec") -> None:
    """Let MuJoCo choose memory and user-data sizes: the file's would conflict with those of the scene."""
    for name in ("njmax", "nconmax", "nuser_jnt", "nuser_site", "nuser_tendon", "nuser_actuator", "nuser_sensor"):
        setattr(spec, name, -1)


def _clean_geoms(spec: "mujoco.MjSpec", visual: bool) -> None:
    """Keep capsules and boxes, which collide; delete the 1 mm placeholder boxes and the meshes not to be rendered."""
    for geom in list(spec.geoms):
        is_mesh = geom.type == mujoco.mjtGeom.mjGEOM_MESH
        placeholder = "V_" in geom.name and not is_mesh
        if placeholder or (is_mesh and (not visual or geom.name == "robot0:C_forearm")):
            spec.delete(geom)
    if not visual:
        for mesh in list(spec.meshes):
            spec.delete(mesh)
    for texture in list(spec.textures):
        if texture.type == mujoco.mjtTexture.mjTEXTURE_SKYBOX:  # green; the scene has its own
            spec.delete(texture)


def _drop_duplicate_pairs(spec: "mujoco.MjSpec") -> None:
    """Delete repeated pairs: the file has lfdistal-rfdistal twice, of which C MuJoCo makes two contacts, Warp one."""
    known = set()
    for pair in list(spec.pairs):
        key = frozenset((pair.geomname1, pair.geomname2))
        if key in known:
            spec.delete(pair)
        known.add(key)
