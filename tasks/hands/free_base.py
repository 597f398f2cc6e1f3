"""The model of a hand that flies: a free joint at its center of mass, slowed as in Bi-DexterousHands.

The originals give each link of a hand a linear and angular damping of 100/s: a drag of 100 M(q) qdot on base and joints
alike, for the mass matrix M without armature. With the free joint's origin at the center of mass M is diagonal there,
so that the drag is a damping of the joints, which the solver integrates implicitly.
"""

from typing import TYPE_CHECKING, Any, Sequence

import mujoco

if TYPE_CHECKING:
    import numpy as np

DRAG = 100.0  # [1/s]
LIMIT_IMPEDANCE = 0.99  # of joints' limits; MuJoCo's is 0.9 to 0.95


def center_of_mass(hand: "mujoco.MjSpec", root: str) -> "np.ndarray":
    """Center of mass of the hand below the body `root` at zero joint angles, [3] m, where the root is at the origin."""
    model = hand.copy().compile()
    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    body = model.body(root).id
    return data.subtree_com[body].copy()


def add_free_base(spec: "mujoco.MjSpec", frame: Any, name: str, center: "np.ndarray") -> "mujoco.MjsBody":
    """Add an almost massless body with a free joint at `center` [m] of a frame."""
    body = spec.worldbody.add_body(
        name=name, pos=center, mass=1e-4, inertia=[1e-7] * 3, explicitinertial=True, gravcomp=1.0
    )
    body.set_frame(frame)
    body.add_freejoint(name=name)
    return body


def firm_limits(hand: "mujoco.MjSpec", timestep: float) -> None:
    """Make the limits of a hand's joints and tendons as hard as a physics step of `timestep` [s] allows.

    Under a steady torque a limit gives way by (1 - d) / d * w * torque * (time * d)^2 rad, with d the impedance and w
    the joint's inverse inertia, about 950 / (kg m^2) for a finger: 0.018 rad/Nm of MuJoCo's own, 0.001 of two steps of
    1/180 s. A base that pushes with all its force bends fingers with tens of Nm.
    """
    for part in list(hand.joints) + list(hand.tendons):
        part.solref_limit = [2.0 * timestep, 1.0]
        part.solimp_limit = [LIMIT_IMPEDANCE, LIMIT_IMPEDANCE, 0.001, 0.5, 2.0]


def add_drag(model: "mujoco.MjModel", base: str, joints: Sequence[str]) -> None:
    """Slow a hand's free base and its joints by DRAG x mass at the rest pose."""
    model.dof_damping += drag(model, base, joints)


def drag(model: "mujoco.MjModel", base: str, joints: Sequence[str]) -> "np.ndarray":
    """Damping of a hand's free base and of its joints by DRAG x mass at the rest pose, 0 elsewhere, [nv]."""
    import numpy as np

    mass = mass_matrix(model).diagonal()
    damping = np.zeros(model.nv)
    first = model.joint(base).dofadr[0]
    damping[first : first + 6] = DRAG * mass[first : first + 6]
    for joint in joints:
        dof = model.joint(joint).dofadr[0]
        damping[dof] = DRAG * (mass[dof] - model.dof_armature[dof])
    return damping


def mass_matrix(model: "mujoco.MjModel") -> "np.ndarray":
    """Mass matrix at the rest pose, [nv, nv]."""
    import numpy as np

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    full = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, full)
    return full
