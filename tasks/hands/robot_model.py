"""MuJoCo models of robots' hands, made of a file of MuJoCo Menagerie or a copy of it in another package.

Of the file are kept its bodies, joints, inertias, and the boxes and capsules that collide. What copies differ in is set
here: where the root is, whether it is free, and all that drives joints. Physics needs no mesh: a fingertip that is one
becomes the capsule of its bounds.
"""

from typing import Iterator, List, NamedTuple

import mujoco
import numpy as np

from harl_isaac.tasks.hands.hand import Drive, GainsCfg, Hand

MESH = mujoco.mjtGeom.mjGEOM_MESH
CAPSULE = mujoco.mjtGeom.mjGEOM_CAPSULE
HIDDEN = 3  # group of geoms that are not rendered
SHORTEST = 1e-3  # [m] half length of a capsule


class Tip(NamedTuple):
    """A fingertip: the capsule of a geom's bounds, in the frame of the link that it is part of."""

    center: "np.ndarray"  # [3] m
    quat: "np.ndarray"  # [4] wxyz
    radius: float  # [m]
    half_length: float  # [m]


def hand_spec(spec: "mujoco.MjSpec", hand: Hand, drive: Drive, gains: GainsCfg, visual: bool) -> "mujoco.MjSpec":
    """The hand of a file's `spec`, which is changed; `visual` keeps the meshes for rendering.

    Bodies "<part> tip" are added, with their origins in the middles of the fingertips. A hand's fingertips meet each
    other, the palm and the other digits' links before the last; its other parts pass through each other.
    """
    _clean(spec, hand.mount)
    _name_geoms(spec)
    own = spec.copy().compile()  # with meshes, of which inertias may be
    _keep_inertias(spec, own)
    for part, joints in hand.parts.items():
        _add_tip(spec, own, part, spec.joint(joints[-1]).parent)
    _drop_meshes(spec, visual)
    _drive_joints(spec, hand, drive, gains)
    for geom in _colliding(spec.worldbody):
        geom.group = HIDDEN if visual else 0
        geom.solref = [0.02, 1.0]  # MuJoCo's own
        geom.solimp = [0.9, 0.95, 0.001, 0.5, 2.0]
    for body in spec.bodies[1:]:
        body.gravcomp = 1.0  # the originals switch gravity off on the hands
    _add_pairs(spec, hand)
    return spec


def _clean(spec: "mujoco.MjSpec", mount: str) -> None:
    """Delete what only this file has, and put the root at the origin, unturned: a task places it."""
    for unwanted in [*spec.sensors, *spec.actuators, *spec.excludes, *spec.keys]:
        spec.delete(unwanted)
    for joint in list(spec.joints):
        if joint.type == mujoco.mjtJoint.mjJNT_FREE:
            spec.delete(joint)
    spec.body(mount).pos = [0.0, 0.0, 0.0]
    spec.body(mount).quat = [1.0, 0.0, 0.0, 0.0]
    spec.option.impratio = 1.0


def _name_geoms(spec: "mujoco.MjSpec") -> None:
    """Give geoms without a name their body's and a number."""
    for body in spec.bodies[1:]:
        for number, geom in enumerate(body.geoms):
            geom.name = geom.name or f"{body.name} geom {number}"


def _keep_inertias(spec: "mujoco.MjSpec", own: "mujoco.MjModel") -> None:
    """Write masses and inertias down, which may be those of meshes."""
    for body in spec.bodies[1:]:
        each = own.body(body.name)
        body.explicitinertial = True
        body.mass = float(each.mass[0])
        body.ipos = each.ipos
        body.iquat = each.iquat
        body.inertia = each.inertia


def _add_tip(spec: "mujoco.MjSpec", own: "mujoco.MjModel", part: str, link: "mujoco.MjsBody") -> None:
    """Move the fingertip below `link` into a body of its own."""
    geom = next(each for each in _colliding(link) if each.type in (CAPSULE, MESH))
    tip = _tip_of(own, geom.name, link.name)
    body = link.add_body(name=f"{part} tip", pos=tip.center)
    body.add_geom(
        name=body.name,
        type=CAPSULE,
        size=[tip.radius, tip.half_length, 0.0],
        quat=tip.quat,
        friction=geom.friction,
        mass=0.0,
        rgba=[0.9, 0.9, 0.9, 1.0],
    )
    if geom.type == MESH:
        geom.contype = 0
        geom.conaffinity = 0
    else:
        spec.delete(geom)


def _tip_of(own: "mujoco.MjModel", geom: str, link: str) -> Tip:
    """The capsule along the longest side of a geom's bounds; a capsule is its own."""
    data = mujoco.MjData(own)
    mujoco.mj_forward(own, data)
    number = own.geom(geom).id
    center = own.geom_aabb[number, :3]
    half = own.geom_aabb[number, 3:]
    longest = int(half.argmax())
    radius = float(np.delete(half, longest).mean())
    axes = data.body(link).xmat.reshape(3, 3).T @ data.geom(geom).xmat.reshape(3, 3)
    quat = np.zeros(4)
    mujoco.mju_quatZ2Vec(quat, np.ascontiguousarray(axes[:, longest]))
    offset = data.body(link).xmat.reshape(3, 3).T @ (data.geom(geom).xpos - data.body(link).xpos)
    return Tip(offset + axes @ center, quat, radius, max(float(half[longest]) - radius, SHORTEST))


def _drop_meshes(spec: "mujoco.MjSpec", visual: bool) -> None:
    """Delete meshes that are not to be rendered. Raises ValueError where one collides."""
    for geom in list(spec.geoms):
        if geom.type != MESH:
            continue
        if geom.contype:
            raise ValueError(f"{geom.name} in the file of {spec.modelname} collides and is a mesh, no box or capsule")
        if not visual:
            spec.delete(geom)
    if not visual:
        for mesh in list(spec.meshes):
            spec.delete(mesh)


def _drive_joints(spec: "mujoco.MjSpec", hand: Hand, drive: Drive, gains: GainsCfg) -> None:
    """Give each joint a position actuator of its name that damps it too, both within the effort; nothing else does."""
    for joint in spec.joints:
        joint.damping = joint.damping * 0.0
        joint.armature = drive.armature
        joint.frictionloss = 0.0
    effort = drive.effort * gains.force
    for joint in hand.actuated:
        actuator = spec.add_actuator(name=joint, target=joint, trntype=mujoco.mjtTrn.mjTRN_JOINT)
        actuator.set_to_position(kp=drive.stiffness * gains.kp, kv=drive.damping * gains.damping, inheritrange=1.0)
        actuator.forcelimited = True
        actuator.forcerange = [-effort, effort]


def _add_pairs(spec: "mujoco.MjSpec", hand: Hand) -> None:
    """Let fingertips meet each other, the palm, and the other digits' links before the last."""
    middles = {part: _largest(spec.joint(joints[-2]).parent) for part, joints in hand.parts.items()}
    palm = _largest(spec.body(hand.palm))
    parts = list(hand.parts)
    for number, part in enumerate(parts):
        partners = [palm, *(f"{other} tip" for other in parts[:number])]
        partners += [middle for other, middle in middles.items() if other != part]
        for partner in partners:
            spec.add_pair(geomname1=f"{part} tip", geomname2=partner)


def _largest(body: "mujoco.MjsBody") -> str:
    """Name of the largest box of a body."""
    boxes = [geom for geom in body.geoms if geom.contype]
    return max(boxes, key=lambda geom: float(np.prod(geom.size))).name


def _colliding(body: "mujoco.MjsBody") -> Iterator["mujoco.MjsGeom"]:
    """Geoms of a body and of all below it that collide."""
    below: List[mujoco.MjsBody] = [body]
    while below:
        each = below.pop()
        yield from [geom for geom in each.geoms if geom.contype]
        below += each.bodies
