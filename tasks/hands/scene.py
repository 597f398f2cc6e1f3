"""The scene of the hand tasks: two Shadow hands and an object to throw, as one MuJoCo model.

The hand is OpenAI's Shadow hand as gymnasium-robotics ships it (Apache-2.0), the same file that Bi-DexterousHands uses,
and as there both hands are right hands. Physics needs no mesh: collision shapes are capsules and boxes.
"""

import os
from importlib.util import find_spec
from typing import Sequence

import mujoco

from harl_isaac.tasks.hands.shadow_hand import (
    COUPLING_TENDONS,
    DIGITS,
    EGG_MASS,
    JOINTS,
    SIDES,
    GainsCfg,
    Mount,
    PhysicsCfg,
    full_name,
)

# [m], [kg]: type, size, mass. The egg is the capsule of the original ellipsoid's extents: ellipsoid contacts differ
# between float32 and float64 collision code, capsule contacts do not.
OBJECTS = {
    "egg": (mujoco.mjtGeom.mjGEOM_CAPSULE, (0.03, 0.01, 0.0), EGG_MASS),
    "ellipsoid": (mujoco.mjtGeom.mjGEOM_ELLIPSOID, (0.03, 0.03, 0.04), EGG_MASS),
    "ball": (mujoco.mjtGeom.mjGEOM_SPHERE, (0.0335, 0.0, 0.0), 0.0787),
    "cube": (mujoco.mjtGeom.mjGEOM_BOX, (0.025, 0.025, 0.025), 0.0709),
}
SENSORS_PER_TIP = (
    ("framepos", mujoco.mjtSensor.mjSENS_FRAMEPOS),
    ("framequat", mujoco.mjtSensor.mjSENS_FRAMEQUAT),
    ("linvel", mujoco.mjtSensor.mjSENS_FRAMELINVEL),
    ("angvel", mujoco.mjtSensor.mjSENS_FRAMEANGVEL),
)
NET_FORCE = 3  # contact sensor's reduction: the sum of all contacts
FORCE_TORQUE = 1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE) | 1 << int(mujoco.mjtConDataField.mjCONDATA_TORQUE)


def two_hands(
    cfg: PhysicsCfg, mounts: Sequence[Mount], shape: str, start: Sequence[float], visual: bool = False
) -> "mujoco.MjSpec":
    """Scene with a hand on each of two mounts and a free object at `start` [m].

    Layout: qpos = right 24, left 24, object 7; the same order of sides in controls (20 each) and sensors. Raises
    ValueError for an unknown shape.
    """
    if shape not in OBJECTS:
        raise ValueError(f"object {shape!r} is unknown; possible: {', '.join(OBJECTS)}")
    spec = mujoco.MjSpec()
    spec.compiler.degree = False
    _set_options(spec.option, cfg.timestep)
    floor = spec.worldbody.add_geom(
        name="floor", type=mujoco.mjtGeom.mjGEOM_PLANE, size=[2, 2, 0.1], contype=2, conaffinity=0
    )
    floor.rgba = [0.35, 0.4, 0.45, 1]
    for side, (pos, yaw) in zip(SIDES, mounts):
        frame = spec.worldbody.add_frame(pos=pos, euler=[0, 0, yaw])
        hand = hand_spec(cfg.gains, visual)
        _set_options(hand.option, cfg.timestep)
        frame.attach_body(hand.body("robot0:hand mount"), side + "/", "")
    _add_object(spec, shape, start)
    for side in SIDES:
        _add_sensors(spec, side)
    if visual:
        _add_light_and_cameras(spec)
    return spec


def _set_options(option: "mujoco.MjOption", timestep: float) -> None:
    option.timestep = timestep
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    option.tolerance = 1e-6  # MuJoCo Warp clamps here; the trajectory is that of 1e-8
    option.iterations = 100


def _add_object(spec: "mujoco.MjSpec", shape: str, start: Sequence[float]) -> None:
    """A free body with contacts, and a goal of the same shape without."""
    kind, size, mass = OBJECTS[shape]
    body = spec.worldbody.add_body(name="object", pos=start)
    body.add_freejoint(name="object")
    body.add_geom(
        name="object",
        type=kind,
        size=list(size),
        mass=mass,
        condim=4,
        contype=0,
        conaffinity=3,
        rgba=[0.9, 0.55, 0.2, 1],
    )
    goal = spec.worldbody.add_body(name="goal", mocap=True, pos=start)
    goal.add_geom(name="goal", type=kind, size=list(size), contype=0, conaffinity=0, rgba=[0.2, 0.8, 0.3, 0.35])


def _add_sensors(spec: "mujoco.MjSpec", side: str) -> None:
    """Sensors of one hand, in the order in which observations read them.

    5 x (position 3, quaternion wxyz 4, velocity 3 + 3), 5 x net contact (force 3, torque 3), 24 joint torques.
    """
    tips = [full_name(side, digit.lower() + "distal") for digit in DIGITS]
    for tip in tips:
        for name, kind in SENSORS_PER_TIP:
            spec.add_sensor(name=f"{tip} {name}", type=kind, objtype=mujoco.mjtObj.mjOBJ_XBODY, objname=tip)
    for tip in tips:
        spec.add_sensor(
            name=f"{tip} contact",
            type=mujoco.mjtSensor.mjSENS_CONTACT,
            objtype=mujoco.mjtObj.mjOBJ_BODY,
            objname=tip,
            intprm=[FORCE_TORQUE, NET_FORCE, 1],
        )
    for joint in JOINTS:
        name = full_name(side, joint)
        spec.add_sensor(
            name=f"{name} torque",
            type=mujoco.mjtSensor.mjSENS_JOINTACTFRC,
            objtype=mujoco.mjtObj.mjOBJ_JOINT,
            objname=name,
        )


def _add_light_and_cameras(spec: "mujoco.MjSpec") -> None:
    spec.worldbody.add_light(pos=[0.6, -0.5, 1.8], dir=[-0.4, 0, -1], diffuse=[0.8, 0.8, 0.8])
    spec.worldbody.add_camera(name="side", pos=[0.7, -0.5, 0.74], xyaxes=[0, 1, 0, -0.3, 0, 0.95])


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
    keep = [f"robot0:{name}" for name in COUPLING_TENDONS]
    for sensor in list(spec.sensors):
        spec.delete(sensor)
    for tendon in list(spec.tendons):
        if tendon.name not in keep:
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


def _drop_duplicate_pairs(spec: "mujoco.MjSpec") -> None:
    """Delete repeated pairs: the file has lfdistal-rfdistal twice, of which C MuJoCo makes two contacts, Warp one."""
    known = set()
    for pair in list(spec.pairs):
        key = frozenset((pair.geomname1, pair.geomname2))
        if key in known:
            spec.delete(pair)
        known.add(key)
