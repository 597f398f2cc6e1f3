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


def add_drag(model: "mujoco.MjModel", base: str, joints: Sequence[str]) -> None:
    """Slow a hand's free base and its joints by DRAG x mass at the rest pose."""
    mass = mass_matrix(model).diagonal()
    first = model.joint(base).dofadr[0]
    model.dof_damping[first : first + 6] = DRAG * mass[first : first + 6]
    for joint in joints:
        dof = model.joint(joint).dofadr[0]
        model.dof_damping[dof] += DRAG * (mass[dof] - model.dof_armature[dof])


def mass_matrix(model: "mujoco.MjModel") -> "np.ndarray":
    """Mass matrix at the rest pose, [nv, nv]."""
    import numpy as np

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    full = np.zeros((model.nv, model.nv))
    mujoco.mj_fullM(model, data, full)
    return full
