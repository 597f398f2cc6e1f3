"""Scenes of the hand tasks: a builder that puts two hands, objects, goals and named points into one MuJoCo model."""

from typing import Any, List, Sequence

import mujoco

from harl_isaac.tasks.hands.free_base import add_drag, add_free_base, center_of_mass, firm_limits
from harl_isaac.tasks.hands.hand import SIDES, Hand, PhysicsCfg, base_name
from harl_isaac.tasks.hands.layout import Mount
from harl_isaac.tasks.hands.signals import POINT

# Who meets whom, as (contype, conaffinity): an object meets all, a fixture (a table, a leaf of a door) hands and
# objects, the floor objects only. Hands meet each other only where the task says so.
CONTACTS = {
    "right hand": (1, 8),
    "left hand": (8, 1),
    "floor": (2, 0),
    "object": (4, 15),
    "fixture": (4, 9),
    "nothing": (0, 0),
}
SENSORS_PER_TIP = (
    ("framepos", mujoco.mjtSensor.mjSENS_FRAMEPOS),
    ("framequat", mujoco.mjtSensor.mjSENS_FRAMEQUAT),
    ("linvel", mujoco.mjtSensor.mjSENS_FRAMELINVEL),
    ("angvel", mujoco.mjtSensor.mjSENS_FRAMEANGVEL),
)
# Of the solver at most: on a GPU one hard environment holds up all others. Nothing that was played needs more than 12
# (docs/results/hands.md).
ITERATIONS = 20
NET_FORCE = 3  # contact sensor's reduction: the sum of all contacts
MOST_CONTACTS = 200  # of two free hands and an object; 68 and 388 rows are the most that was seen
MOST_ROWS = 512  # of constraints
SKY = (0.95, 0.96, 0.97)
HORIZON = (0.75, 0.78, 0.82)
FORCE_TORQUE = 1 << int(mujoco.mjtConDataField.mjCONDATA_FORCE) | 1 << int(mujoco.mjtConDataField.mjCONDATA_TORQUE)


class SceneBuilder:
    """Two hands on their mounts above a floor; a task adds the rest, then `compile` makes the model.

    Elements of a hand have its side in front of their names ("right/robot0:WRJ1"). A `free` hand hangs in a body
    "right base" with a free joint of the same name, and the point "right root" is where the mount was. Raises
    ValueError where the hand's model is not installed.
    """

    def __init__(
        self,
        cfg: PhysicsCfg,
        hand: Hand,
        mounts: Sequence[Mount],
        free: bool = False,
        hands_meet: bool = False,
        visual: bool = False,
    ):
        self.hand = hand
        self.visual = visual
        self.spec = mujoco.MjSpec()
        self.spec.compiler.degree = False
        self.spec.compiler.eulerseq = "XYZ"  # about fixed axes, as the originals' angles
        self._cfg = cfg
        self._free = free
        self._hands_meet = hands_meet
        self._points: List[str] = []  # names of points in the order of their sensors
        _set_options(self.spec.option, cfg.timestep)
        if free:
            self.spec.nconmax = MOST_CONTACTS  # for MuJoCo Warp, which reserves memory; C takes what it needs
            self.spec.njmax = MOST_ROWS
        floor = self.add_geom(self.spec.worldbody, "floor", "floor", mujoco.mjtGeom.mjGEOM_PLANE, (2, 2, 0.1), condim=3)
        floor.rgba = [0.35, 0.4, 0.45, 1]
        for side, mount in zip(SIDES, mounts):
            self._add_hand(side, mount)

    def add_geom(
        self, body: Any, name: str, contacts: str, kind: "mujoco.mjtGeom", size: Sequence[float], **values: Any
    ) -> "mujoco.MjsGeom":
        """Add a geom to a body; `contacts` is one of CONTACTS, `values` are MuJoCo's."""
        own_kind, partners = CONTACTS[contacts]
        values = {"condim": 4, **values}
        size = list(size) + [0.0] * (3 - len(size))
        return body.add_geom(name=name, type=kind, size=size, contype=own_kind, conaffinity=partners, **values)

    def add_free_body(self, name: str, pos: Sequence[float], **pose: Any) -> "mujoco.MjsBody":
        """Add a body that moves freely; its joint has its name."""
        body = self.spec.worldbody.add_body(name=name, pos=pos, **pose)
        body.add_freejoint(name=name)
        return body

    def add_goal(self, name: str, pos: Sequence[float]) -> "mujoco.MjsBody":
        """Add a mark that the task moves and nothing meets."""
        return self.spec.worldbody.add_body(name=name, mocap=True, pos=pos)

    def add_point(self, name: str, body: str, offset: Sequence[float] = (0.0, 0.0, 0.0)) -> None:
        """Name a point of a body, `offset` [m] in its frame; rewards and observations read where it is."""
        self.spec.body(body).add_site(name=name, pos=offset)
        self._points.append(name)

    def add_fingertips(self) -> None:
        """Name the fingertips of both hands, such as "right ffdistal"."""
        for side in SIDES:
            for tip in self.hand.tips:
                self.add_point(f"{side} {tip}", self.hand.full_name(side, tip), self.hand.tip_point)

    def add_palms(self) -> None:
        """Name the center of each palm: "right palm", "left palm"."""
        for side in SIDES:
            self.add_point(f"{side} palm", self.hand.full_name(side, self.hand.palm), self.hand.palm_point)

    def add_camera(self, pos: Sequence[float], axes: Sequence[float]) -> None:
        """Add a light, a sky, and a camera at `pos` [m] whose picture's axes (right, up) are `axes`, for rendering."""
        self.spec.worldbody.add_light(pos=[0.6, -0.5, 1.8], dir=[-0.4, 0, -1], diffuse=[0.8, 0.8, 0.8])
        self.spec.worldbody.add_camera(name="side", pos=pos, xyaxes=axes)
        self.spec.add_texture(
            name="sky",
            type=mujoco.mjtTexture.mjTEXTURE_SKYBOX,
            builtin=mujoco.mjtBuiltin.mjBUILTIN_GRADIENT,
            rgb1=SKY,
            rgb2=HORIZON,
            width=64,
            height=64 * 6,  # the six sides of a cube
        )

    def compile(self) -> "mujoco.MjModel":
        """The model of the finished scene; nothing can be added afterwards."""
        for side in SIDES:
            self._add_sensors(side)
        for name in self._points:
            self.spec.add_sensor(
                name=name + POINT,
                type=mujoco.mjtSensor.mjSENS_FRAMEPOS,
                objtype=mujoco.mjtObj.mjOBJ_SITE,
                objname=name,
            )
        model = self.spec.compile()
        if self._free:
            for side in SIDES:
                add_drag(model, base_name(side), [self.hand.full_name(side, joint) for joint in self.hand.joints])
        return model

    def _add_hand(self, side: str, mount: Mount) -> None:
        hand = self.hand.load(self._cfg.gains, self.visual)
        _set_options(hand.option, self._cfg.timestep)
        own_kind, partners = CONTACTS[side + " hand"]
        for geom in hand.geoms:
            if geom.contype:
                geom.contype = own_kind
                geom.conaffinity = partners if self._hands_meet else 0
        for joint, limits in self.hand.limits.items():
            hand.joint(self.hand.prefix + joint).range = limits
        frame = self.spec.worldbody.add_frame(pos=mount.pos, euler=mount.euler)
        root = self.hand.prefix + self.hand.mount
        if self._free:
            firm_limits(hand, self._cfg.timestep)
            center = center_of_mass(hand, root)
            base = add_free_base(self.spec, frame, base_name(side), center)
            frame = base.add_frame(pos=-center)
            self.add_point(f"{side} root", base_name(side), tuple(-center))
        frame.attach_body(hand.body(root), side + "/", "")

    def _add_sensors(self, side: str) -> None:
        """Sensors of one hand: those of the fingertips, their net contact (force 3, torque 3), the joints' torques."""
        tips = [self.hand.full_name(side, tip) for tip in self.hand.tips]
        for tip in tips:
            for name, kind in SENSORS_PER_TIP:
                self.spec.add_sensor(name=f"{tip} {name}", type=kind, objtype=mujoco.mjtObj.mjOBJ_XBODY, objname=tip)
        for tip in tips:
            self.spec.add_sensor(
                name=f"{tip} contact",
                type=mujoco.mjtSensor.mjSENS_CONTACT,
                objtype=mujoco.mjtObj.mjOBJ_BODY,
                objname=tip,
                intprm=[FORCE_TORQUE, NET_FORCE, 1],
            )
        for joint in self.hand.joints:
            name = self.hand.full_name(side, joint)
            self.spec.add_sensor(
                name=f"{name} torque",
                type=mujoco.mjtSensor.mjSENS_JOINTACTFRC,
                objtype=mujoco.mjtObj.mjOBJ_JOINT,
                objname=name,
            )


def _set_options(option: "mujoco.MjOption", timestep: float) -> None:
    """Set the solver. Its matrices are dense in C (Warp chooses itself).

    On the sparse ones that `auto` takes from 60 degrees of freedom on, the Newton solver of MuJoCo 4.0.0 may stall
    far from the solution, and fingers turn over their limits by radians in one step.
    """
    option.timestep = timestep
    option.integrator = mujoco.mjtIntegrator.mjINT_IMPLICITFAST
    option.solver = mujoco.mjtSolver.mjSOL_NEWTON
    option.jacobian = mujoco.mjtJacobian.mjJAC_DENSE
    option.cone = mujoco.mjtCone.mjCONE_PYRAMIDAL
    option.tolerance = 1e-6  # MuJoCo Warp clamps here; the trajectory is that of 1e-8
    option.iterations = ITERATIONS
