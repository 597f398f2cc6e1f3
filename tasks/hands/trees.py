"""The parts of a scene that vary as a whole: each hand, each object with what hangs on it."""

from typing import TYPE_CHECKING, Dict, List, NamedTuple

import torch
from torch import Tensor

from harl_isaac.tasks.hands.hand import SIDES, base_name

if TYPE_CHECKING:
    import mujoco

FREE = 0  # MuJoCo's type of a joint that moves freely
SPHERE = 2  # and its types of geoms
CAPSULE = 3
ELLIPSOID = 4


class Trees(NamedTuple):
    """Bodies that have a factor of their own: each hand, each object with what hangs on it."""

    names: List[str]  # of the trees: right, left, then the objects' roots
    of_body: Tensor  # [nbody] index of the tree; the number of trees where a body is of none
    loose: List[bool]  # whether the tree moves freely, as an object


def find_trees(model: "mujoco.MjModel") -> Trees:
    """The trees of a scene of two hands: what is below each hand's root, and each other root that can move.

    Goals are mocap bodies and belong to none, as do the floor, tables, and the frames of doors without leaves.
    """
    names = list(SIDES)
    loose = [False] * len(SIDES)
    of_root: Dict[int, int] = {}
    of_body = []
    for body in range(model.nbody):
        name = model.body(body).name
        side = next((i for i, each in enumerate(SIDES) if name.startswith(f"{each}/") or name == base_name(each)), None)
        root = int(model.body_rootid[body])
        if side is not None:
            of_root[root] = side
        elif root not in of_root and root != 0 and _moves(model, root):
            of_root[root] = len(names)
            names.append(model.body(root).name)
            joint = int(model.body_jntadr[root])
            loose.append(joint >= 0 and int(model.jnt_type[joint]) == FREE)
        of_body.append(of_root.get(root, -1))
    count = len(names)
    return Trees(names, torch.tensor([tree if tree >= 0 else count for tree in of_body]), loose)


def _moves(model: "mujoco.MjModel", root: int) -> bool:
    """Whether a joint is anywhere in the tree of a root."""
    return any(int(model.body_rootid[body]) == root and model.body_dofnum[body] for body in range(model.nbody))


def lowest(model: "mujoco.MjModel", root: str) -> float:
    """Meters from a body's origin down to the lowest point of its tree, as the scene was built."""
    import mujoco

    data = mujoco.MjData(model)
    mujoco.mj_forward(model, data)
    body = model.body(root).id
    geoms = [geom for geom in range(model.ngeom) if model.body_rootid[model.geom_bodyid[geom]] == body]
    bottoms = [data.geom_xpos[geom, 2] - _half_height(model, data, geom) for geom in geoms]
    return float(data.xpos[body, 2] - min(bottoms, default=data.xpos[body, 2]))


def _half_height(model: "mujoco.MjModel", data: "mujoco.MjData", geom: int) -> float:
    """Half the vertical extent of a geom, m. (Its box for shapes that objects are not made of.)"""
    import numpy as np

    up = np.abs(data.geom_xmat[geom].reshape(3, 3)[2])
    size = model.geom_size[geom]
    kind = int(model.geom_type[geom])
    if kind == SPHERE:
        return float(size[0])
    if kind == CAPSULE:
        return float(size[0] + size[1] * up[2])
    if kind == ELLIPSOID:
        return float(np.linalg.norm(up * size))
    return float(up @ model.geom_aabb[geom, 3:])
