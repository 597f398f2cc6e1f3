"""The model as MuJoCo Warp takes it: flags, sizes of buffers, and the fields that may differ between environments."""

import copy
from dataclasses import fields
from typing import Tuple, Union

import mujoco
import mujoco_warp as mjw

# Fields that set_const derives from another one, and so must have a value for each environment as well.
INERTIAL = ("body_subtreemass", "body_invweight0", "dof_invweight0", "tendon_invweight0", "actuator_acc0")
KINEMATIC = (
    "tendon_length0",
    "eq_data",
    "cam_pos0",
    "cam_poscom0",
    "cam_mat0",
    "light_pos0",
    "light_poscom0",
    "light_dir0",
)
DERIVED = {
    **dict.fromkeys(
        (
            "body_mass",
            "body_inertia",
            "body_iquat",
            "dof_armature",
            "tendon_armature",
            "actuator_armature",
            "actuator_gear",
        ),
        INERTIAL,
    ),
    **dict.fromkeys(("qpos0", "body_pos", "body_quat", "body_ipos", "jnt_pos", "jnt_axis"), INERTIAL + KINEMATIC),
    "geom_size": ("geom_aabb", "geom_rbound"),
}
CONTACT_POINTS = {mujoco.mjtGeom.mjGEOM_SPHERE: 1, mujoco.mjtGeom.mjGEOM_ELLIPSOID: 1, mujoco.mjtGeom.mjGEOM_CAPSULE: 2}


def portable(model: "mujoco.MjModel") -> "mujoco.MjModel":
    """A copy of a model with flags that make this engine agree with the other one.

    Without native convex collision two boxes meet by the same closed form as in C; with it they differ by centimeters.
    Diverged rows are reset by the task, and the flag for it is unknown here. The PGS solver is unknown as well:
    Newton's finds the same optimum. Dense matrices are refused in large models, so the engine chooses.
    """
    model = copy.copy(model)
    model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_NATIVECCD)
    model.opt.disableflags &= ~int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
    if model.opt.solver == mujoco.mjtSolver.mjSOL_PGS:
        model.opt.solver = mujoco.mjtSolver.mjSOL_NEWTON
    model.opt.jacobian = mujoco.mjtJacobian.mjJAC_AUTO
    return model


def buffer_sizes(model: "mujoco.MjModel", warp_model: "mjw.Model") -> Tuple[int, int]:
    """Capacity of the buffers: contacts and constraint rows of each environment.

    A fraction of the contact points that all pairs of geoms could make at the same time, and the rows that limits and
    equalities need. Two hands under random actions: at most 25 contacts and 124 rows (egg), 34 and 190 (cube), and 17
    pairs near enough for the narrow phase; this gives 50 and 192, 64 and 224. A body may lie on a plane with all its
    geoms: an ant of 20 segments made 227 contacts and 948 rows, this gives 278 and 1056. Contacts are shared by all
    environments, rows are not. A model that sets both nconmax and njmax gets at most those: hands that may touch each
    other have 1,500 rows by that count, and use fewer than 400.
    The numbers in the rows need no size: Warp makes room for as many rows of the widest pair of bodies.
    """
    pairs = model.geom_type[warp_model.nxn_geom_pair_filtered.numpy().reshape(-1, 2)]
    each = [min(CONTACT_POINTS.get(int(a), 8), CONTACT_POINTS.get(int(b), 8)) for a, b in pairs]
    points = sum(each)
    lying = sum(count for count, pair in zip(each, pairs) if mujoco.mjtGeom.mjGEOM_PLANE in pair)
    friction = int((model.dof_frictionloss > 0).sum() + (model.tendon_frictionloss > 0).sum())
    limits = int(model.jnt_limited.sum() + model.tendon_limited.sum())
    rows = 6 * model.neq + friction + limits + max(72, 3 * points // 4, 7 * lying // 2)
    contacts = max(24, points // 3, lying)
    rows = -(-rows // 32) * 32
    if model.nconmax < 0 or model.njmax < 0:  # one alone is an old file's hint of its size
        return contacts, rows
    return capped(contacts, model.nconmax), capped(rows, model.njmax)


def capped(size: int, most: int) -> int:
    """A size, but at most `most` where a model sets that (-1: it does not)."""
    return min(size, most) if most > 0 else size


def per_environment(owner: Union["mjw.Model", "mjw.Option"]) -> Tuple[str, ...]:
    """Names of the fields of a Warp model or of its options that may differ between environments."""
    return tuple(field.name for field in fields(owner) if getattr(field.type, "shape", (None,))[:1] == ("*",))
