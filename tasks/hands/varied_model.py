"""Models that differ between environments: masses, sizes, friction, gains, damping, limits and gravity.

What is drawn is kept as factors and offsets; a model field is always the task's own value times them, so that nothing
adds up from episode to episode.
"""

from typing import TYPE_CHECKING, Dict, List, Optional, Sequence, Union

import torch
from torch import Tensor

from harl_isaac.sim.physics import Physics
from harl_isaac.tasks.hands.addresses import Addresses
from harl_isaac.tasks.hands.hand import SIDES, Hand
from harl_isaac.tasks.hands.randomization import LOG_UNIFORM, Draw, Value
from harl_isaac.tasks.hands.trees import find_trees, lowest

if TYPE_CHECKING:
    import mujoco

SETTINGS = ("object_mass", "hand_mass", "object_size", "friction", "stiffness", "damping", "joint_limits", "gravity")
COMMITTED = ("object_mass", "hand_mass", "object_size")  # which constants of the model depend on
LENGTHS = ("body_ipos", "jnt_pos")  # grow with a body's size, as do those of its geoms and sites


class VariedModel:
    """The fields of an engine's model that are randomized, by what was drawn for each environment.

    `values` holds what was drawn last, [E, ...] each, for the checkpoint. Raises ValueError where `wanted` (see
    `randomization.chosen`) names what the task does not have; what only a preset names is left out there.
    """

    def __init__(
        self,
        physics: Physics,
        addresses: Addresses,
        hand: Hand,
        wanted: Dict[str, Value],
        given: Sequence[str],
        drag: Tensor,
    ):
        self._physics = physics
        self._model = addresses.model
        self._trees = find_trees(addresses.model)
        self._device = physics.qpos.device
        self._wanted = {name: wanted[name] for name in SETTINGS if name in wanted}
        self._leave_out_missing(given)
        joints = [hand.full_name(side, joint) for side in SIDES for joint in hand.joints]
        self._dofs = [addresses.qvel(joint)[0] for joint in joints]  # of the hands' joints
        self._joints = [int(addresses.model.joint(joint).id) for joint in joints]
        self._height_columns = self._columns_of_heights(addresses)  # of qpos, by object
        heights = [lowest(addresses.model, name) for name in self.objects]
        self._heights = torch.tensor(heights, dtype=torch.float32, device=self._device)  # [objects] m
        self._drag = drag  # [nv] part of the damping that follows the hands' masses
        self._dampers = self._joints_of_dampers(addresses.model)
        self._own: Dict[str, Tensor] = {}  # field -> the task's own value
        self.values = {name: self._neutral(name) for name in self._wanted}
        self.values.update(self._missing_factors())
        for name in self._fields():
            self._own[name] = physics.param(name)[:1].clone()
        self._index_bodies(addresses.model)

    def draw(self, mask: Tensor, strength: Union[float, Tensor], uniform: Draw, normal: Draw) -> None:
        """Draw new values where mask [E] is true, and write the model's fields.

        `strength` is the share of each range that is used; `uniform` draws within [0, 1), `normal` of deviation 1.
        """
        for name, limits in self._wanted.items():
            value = self.values[name]
            size = value[0].numel()
            if isinstance(limits, (list, tuple)):
                drawn = factor(name, limits, strength, uniform(size))
            else:
                drawn = float(limits) * strength * normal(size)
            rows = mask.view((-1,) + (1,) * (value.dim() - 1))
            torch.where(rows, drawn.view_as(value), value, out=value)
        self._write(mask)

    def lift(self, qpos: Tensor) -> None:
        """Raise the objects in qpos [E, nq] so that they stand as high above the ground as those of nominal size."""
        if "object_size" not in self._wanted:
            return
        growth = (self.values["object_size"] - 1.0) * self._heights  # [E, objects] m
        for number, column in enumerate(self._height_columns):
            if column is not None:
                qpos[:, column] += growth[:, number]

    @property
    def objects(self) -> List[str]:
        """Names of the objects, each a tree."""
        return self._trees.names[len(SIDES) :]

    def _index_bodies(self, model: "mujoco.MjModel") -> None:
        """Indices of bodies: the roots, and the owner of each geom, site, joint and degree of freedom."""
        host = next(iter(self._own.values()), self._drag).device  # the model's
        owners = {"geom": "geom_bodyid", "site": "site_bodyid", "jnt": "jnt_bodyid", "dof": "dof_bodyid"}
        self._owners = {
            kind: torch.as_tensor(getattr(model, field), device=host).long() for kind, field in owners.items()
        }
        self._of_body = self._trees.of_body.to(self._device)  # [nbody]
        self._roots = [body for body in range(model.nbody) if model.body_parentid[body] == 0]
        self._loose = torch.tensor(self._trees.loose[len(SIDES) :], device=self._device)  # [objects]

    def _columns_of_heights(self, addresses: Addresses) -> List[Optional[int]]:
        """Column of the height of each object that moves freely."""
        loose = self._trees.loose[len(SIDES) :]
        return [addresses.qpos(name)[2] if free else None for name, free in zip(self.objects, loose)]

    def _joints_of_dampers(self, model: "mujoco.MjModel") -> List[int]:
        """Number of each actuator's joint among the hands', where actuators damp; else none."""
        if not model.actuator_biasprm[:, 2].any():
            return []
        return [self._joints.index(int(joint)) for joint in model.actuator_trnid[:, 0]]

    def _leave_out_missing(self, given: Sequence[str]) -> None:
        """Drop what the task has no object for, or refuse it where it was asked for by name."""
        loose = any(self._trees.loose)
        has = {"object_mass": bool(self.objects), "object_size": loose}
        for name, present in has.items():
            if name in self._wanted and not present:
                if name in given:
                    what = "loose object" if self.objects else "object"
                    raise ValueError(f"task.randomization.{name}: this task has no {what}; leave it at null")
                del self._wanted[name]

    def _neutral(self, name: str) -> Tensor:
        """Factors of 1 or offsets of 0 of a setting, [E, ...]."""
        count = self._physics.num_envs
        sizes = {
            "object_mass": (len(self.objects),),
            "hand_mass": (len(SIDES),),
            "object_size": (len(self.objects),),
            "friction": (1,),
            "stiffness": (self._model.nu,),
            "damping": (len(self._dofs),),
            "joint_limits": (len(self._joints), 2),
            "gravity": (3,),
        }
        fill = 0.0 if name in ("joint_limits", "gravity") else 1.0
        return torch.full((count, *sizes[name]), fill, device=self._device)

    def _missing_factors(self) -> Dict[str, Tensor]:
        """Factors of 1 for what fields depend on together with something that is drawn."""
        together = (*COMMITTED, "damping", *(("stiffness",) if self._dampers else ()))
        if not any(name in self._wanted for name in together):
            return {}
        return {name: self._neutral(name) for name in together if name not in self._wanted}

    def _fields(self) -> List[str]:
        """Fields of the model that are written."""
        fields = {
            "object_mass": ["body_mass", "body_inertia"],
            "hand_mass": ["body_mass", "body_inertia", "dof_damping"],
            "object_size": ["body_inertia", "body_pos", *LENGTHS, "geom_size", "geom_pos", "site_pos"],
            "friction": ["geom_friction"],
            "stiffness": ["actuator_gainprm", "actuator_biasprm"],
            "damping": ["dof_damping"] + (["actuator_biasprm"] if self._dampers else []),
            "joint_limits": ["jnt_range"],
            "gravity": ["opt.gravity"],
        }
        return list(dict.fromkeys(field for name in self._wanted for field in fields[name]))

    def _write(self, mask: Tensor) -> None:
        """Write all fields where mask [E] is true, or more, and recompute the constants that follow."""
        rows = self._physics.rows_without_sync(mask)
        drawn = {name: value.index_select(0, rows) for name, value in self.values.items()}
        for field in self._own:
            param = self._physics.param(field)
            param.index_copy_(0, rows.to(param.device), self._field(field, drawn).to(param))
        if any(name in self._wanted for name in COMMITTED):
            self._physics.commit_params(mask)

    def _field(self, name: str, drawn: Dict[str, Tensor]) -> Tensor:
        """Values of a model field in some environments, [N, ...], by what was drawn there, [N, ...] each."""
        own = self._own[name]
        if name == "opt.gravity":
            return own + drawn["gravity"].to(own)
        if name == "geom_friction":
            return own * drawn["friction"].to(own)[:, None]
        if name == "jnt_range":
            return _added(own, self._joints, drawn["joint_limits"].to(own))
        if name == "actuator_gainprm":
            return _scaled_column(own, 0, drawn["stiffness"].to(own))
        if name == "actuator_biasprm":
            return self._bias(own, drawn)
        mass = self._of_bodies(drawn["hand_mass"], drawn["object_mass"]).to(own)
        if name == "dof_damping":
            return self._damping(own, mass, drawn["damping"].to(own))
        if name == "body_mass":
            return own * mass
        size = torch.where(self._loose, drawn["object_size"], torch.ones_like(drawn["object_size"]))
        size = self._of_bodies(torch.ones_like(drawn["hand_mass"]), size).to(own)
        if name == "body_inertia":
            return own * (mass * size.square())[..., None]
        return own * self._lengths(name, size)[..., None]

    def _bias(self, own: Tensor, drawn: Dict[str, Tensor]) -> Tensor:
        """Actuators' bias by position and velocity."""
        bias = _scaled_column(own, 1, drawn["stiffness"].to(own))
        if self._dampers:
            bias[:, :, 2] *= drawn["damping"].to(own)[:, self._dampers]
        return bias

    def _damping(self, own: Tensor, mass: Tensor, factors: Tensor) -> Tensor:
        """Damping of all degrees of freedom: a joint's own times its factor, and the drag that follows the mass."""
        drag = self._drag.to(own)
        each = torch.ones_like(own).repeat(len(factors), 1)
        each[:, self._dofs] = factors
        return (own - drag) * each + drag * mass[:, self._owners["dof"]]

    def _lengths(self, field: str, size: Tensor) -> Tensor:
        """Factors of a field of lengths, [N, rows], by those of the bodies' sizes [N, nbody]."""
        if field == "body_pos":
            size = size.clone()
            size[:, self._roots] = 1.0  # where an object stands does not grow
            return size
        kind = field.partition("_")[0]
        return size if kind == "body" else size[:, self._owners[kind]]

    def _of_bodies(self, hands: Tensor, objects: Tensor) -> Tensor:
        """Factor of each body, [N, nbody], by those of the hands [N, 2] and the objects [N, objects]."""
        table = torch.cat((hands, objects, torch.ones_like(hands[:, :1])), dim=1)  # the last for bodies of no tree
        return table[:, self._of_body]


def factor(name: str, limits: Sequence[float], strength: Union[float, Tensor], u: Tensor) -> Tensor:
    """Factors within limits by u within [0, 1), narrowed to a share `strength` around 1."""
    low, high = limits
    if name in LOG_UNIFORM:
        return (low * (high / low) ** u) ** strength
    return 1.0 + strength * (low + (high - low) * u - 1.0)


def _added(own: Tensor, rows: Sequence[int], offsets: Tensor) -> Tensor:
    """A field [1, N, K] with offsets [E, rows, K] added to some of its rows, [E, N, K]."""
    result = own.repeat(len(offsets), 1, 1)
    result[:, list(rows)] += offsets
    return result


def _scaled_column(own: Tensor, column: int, factors: Tensor) -> Tensor:
    """A field [1, N, K] of which one column is multiplied by factors [E, N], [E, N, K]."""
    result = own.repeat(len(factors), 1, 1)
    result[:, :, column] *= factors
    return result
