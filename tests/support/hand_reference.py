"""Literal values of the hand tasks, read by name from a MuJoCo state of the test's own, in float64."""

import math

import numpy as np
import torch

from support.mujoco_or_skip import mujoco

SIDES = ("right", "left")
DIGITS = ("ff", "mf", "rf", "lf", "th")
FINGER = (("J3", -0.349, 0.349, 1, 0.9), ("J2", 0, 1.571, 1, 0.9), ("J1", 0, 1.571, 1, 0.7245), ("J0", 0, 1.571, 0, 0))
# Name, limits [rad], kp, force limit [Nm]; kp 0: no actuator.
JOINTS = [("WRJ1", -0.489, 0.140, 5, 4.785), ("WRJ0", -0.698, 0.489, 5, 2.175)]
JOINTS += [(digit + row[0],) + row[1:] for digit in ("FF", "MF", "RF") for row in FINGER]
JOINTS += [("LFJ4", 0, 0.785, 1, 0.9)] + [("LF" + row[0],) + row[1:] for row in FINGER]
JOINTS += [
    ("THJ4", -1.047, 1.047, 1, 2.3722),
    ("THJ3", 0, 1.222, 1, 1.45),
    ("THJ2", -0.209, 0.209, 1, 0.99),
    ("THJ1", -0.524, 0.524, 1, 0.99),
    ("THJ0", -1.571, 0, 1, 0.81),
]
ACTUATED = [row[0] for row in JOINTS if row[3]]


def named(side, name):
    return f"{side}/robot0:{name}"


def product(a, b):
    """Quaternions xyzw."""
    (x, y, z, w) = a
    (p, q, r, s) = b
    return np.array(
        [
            w * p + x * s + y * r - z * q,
            w * q - x * r + y * s + z * p,
            w * r + x * q - y * p + z * s,
            w * s - x * p - y * q - z * r,
        ]
    )


def matrix(q):
    """Rotation matrix of a quaternion xyzw."""
    x, y, z, w = (float(part) for part in q)
    return np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
            [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
            [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
        ]
    )


def place(data, body, offset=(0.0, 0.0, 0.0)):
    """A point of a body."""
    return data.body(body).xpos + data.body(body).xmat.reshape(3, 3) @ np.array(offset)


def random_quats(count, seed):
    q = torch.randn(count, 4, generator=torch.Generator().manual_seed(seed))
    return q / q.norm(dim=1, keepdim=True)


def tip_wrench(model, data, tip):
    """Net contact force on a body in world axes, and its moment about the force-weighted center of the contacts."""
    points = []
    forces = []
    moments = []
    for i, contact in enumerate(data.contact):
        bodies = [model.geom_bodyid[contact.geom1], model.geom_bodyid[contact.geom2]]
        if tip in bodies and contact.efc_address >= 0:
            wrench = np.zeros(6)
            mujoco.mj_contactForce(model, data, i, wrench)  # contact frame, acts on geom2's body
            axes = contact.frame.reshape(3, 3)
            sign = 1.0 if bodies[1] == tip else -1.0
            points.append(contact.pos)
            forces.append(sign * axes.T @ wrench[:3])
            moments.append(sign * axes.T @ wrench[3:])
    if not points:
        return np.zeros(6)
    weights = [np.linalg.norm(force) for force in forces]
    center = sum(w * p for w, p in zip(weights, points)) / max(sum(weights), 1e-12)
    moment = sum(m + np.cross(p - center, f) for p, f, m in zip(points, forces, moments))
    return np.concatenate((sum(forces), moment))


def velocity(model, data, body):
    """Linear and angular velocity of a body's frame, world axes."""
    result = np.zeros(6)
    mujoco.mj_objectVelocity(model, data, mujoco.mjtObj.mjOBJ_XBODY, body, result, 0)
    return np.concatenate((result[3:], result[:3]))


def xyzw(quat):
    return np.roll(quat, -1)


def hand_block(model, data, side, last_action, free=None):
    """A hand's part of the observation with a label each; `free`: position and angles of a base that moves."""
    joints = [model.jnt(named(side, joint[0])) for joint in JOINTS]
    tips = [model.body(named(side, digit + "distal")).id for digit in DIGITS]
    angles = [(data.qpos[joint.qposadr[0]], row[1], row[2]) for joint, row in zip(joints, JOINTS)]
    parts = [
        ("angle", [(2 * q - high - low) / (high - low) for q, low, high in angles]),
        ("rate", [0.2 * data.qvel[joint.dofadr[0]] for joint in joints]),
        ("torque", [10.0 * data.qfrc_actuator[joint.dofadr[0]] for joint in joints]),
    ]
    for tip in tips:
        parts += [("tip", np.concatenate((data.xpos[tip], xyzw(data.xquat[tip]), velocity(model, data, tip))))]
    parts += [("wrench", 10.0 * tip_wrench(model, data, tip)) for tip in tips]
    return parts + ([("base", free)] if free is not None else []) + [("action", last_action)]


def base_of(env, model, data, side, point="root"):
    """Position of a point of a free hand; angles of its rotation from the mount, about x, y, z."""
    number = SIDES.index(side)
    a, b, c = env.mounts[number].euler
    axes = [((1, 0, 0), a), ((0, 1, 0), b), ((0, 0, 1), c)]
    mount = np.array([0.0, 0.0, 0.0, 1.0])
    for axis, angle in axes:
        half = np.zeros(4)
        mujoco.mju_axisAngle2Quat(half, np.array(axis, dtype=float), angle)
        turned = np.zeros(4)
        mujoco.mju_mulQuat(turned, half, np.roll(mount, 1))
        mount = xyzw(turned)
    relative = matrix(mount).T @ matrix(xyzw(data.xquat[model.body(f"{side} base").id]))
    angles = (
        math.atan2(relative[2, 1], relative[2, 2]),
        math.asin(-relative[2, 0]),
        math.atan2(relative[1, 0], relative[0, 0]),
    )
    return np.concatenate((data.site(f"{side} {point}").xpos, angles))


def body_block(model, data, body):
    """Part of the tail about a free body: position, orientation, velocity, 0.2 x angular velocity."""
    thing = model.body(body).id
    speed = velocity(model, data, thing)
    return [
        ("object pos", data.xpos[thing]),
        ("object quat", xyzw(data.xquat[thing])),
        ("object velocity", speed[:3]),
        ("object turn", 0.2 * speed[3:]),
    ]


def throw_block(model, data, body, goal):
    """Part of the tail that belongs to an object and its goal, a `Pose` of float64 arrays."""
    quat = xyzw(data.body(body).xquat)
    return [
        *body_block(model, data, body),
        ("goal", goal.pos),
        ("goal", goal.quat),
        ("relative quat", product(quat, goal.quat * np.array([-1, -1, -1, 1]))),
    ]


def goal_of(env, name, row):
    """Pose of a goal in one row, as float64 arrays."""
    goal = env.goals[name]
    return type(goal)(goal.pos[row].double().numpy(), goal.quat[row].double().numpy())


def state_of(model, env, row):
    """MuJoCo's data of one row, all values current."""
    data = mujoco.MjData(model)
    data.qpos[:] = env.physics.qpos[row]
    data.qvel[:] = env.physics.qvel[row]
    data.ctrl[:] = env.physics.ctrl[row]
    data.xfrc_applied[:] = env.physics.xfrc_applied[row]
    mujoco.mj_forward(model, data)
    return data


def labeled(parts):
    """Labels and values of all numbers in parts (label, values)."""
    return [name for name, values in parts for _ in values], np.concatenate([values for _, values in parts])


def literal_closeness(pos, quat, goal_pos, goal_quat, scale=50.0):
    """Reward exp(-0.2 (scale d + theta)) of one object."""
    relative = matrix(quat) @ matrix(goal_quat).T
    theta = math.acos(max(-1.0, min(1.0, (np.trace(relative) - 1.0) / 2.0)))
    return math.exp(-0.2 * (scale * math.dist(pos, goal_pos) + theta))
