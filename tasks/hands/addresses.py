"""Addresses in the engines' tensors by the names of a model's elements."""

from typing import TYPE_CHECKING, List, Optional, Tuple

if TYPE_CHECKING:
    import mujoco

# Numbers in positions and in velocities by MuJoCo's joint type: free, ball, slide, hinge.
QPOS_WIDTHS = (7, 4, 1, 1)
QVEL_WIDTHS = (6, 3, 1, 1)


class Addresses:
    """Columns of the tensors of `Physics`. Each method raises KeyError for a name that the model does not have."""

    def __init__(self, model: "mujoco.MjModel"):
        self.model = model

    def qpos(self, joint: str) -> List[int]:
        """Columns of a joint in qpos."""
        each = self.model.joint(joint)
        return columns(each.qposadr, QPOS_WIDTHS[int(each.type[0])])

    def qvel(self, joint: str) -> List[int]:
        """Columns of a joint in qvel."""
        each = self.model.joint(joint)
        return columns(each.dofadr, QVEL_WIDTHS[int(each.type[0])])

    def sensor(self, name: str) -> List[int]:
        """Columns of a sensor in sensors."""
        each = self.model.sensor(name)
        return columns(each.adr, int(each.dim[0]))

    def limits(self, joint: str) -> Tuple[float, float]:
        """Range of a joint, rad or m."""
        low, high = self.model.joint(joint).range
        return float(low), float(high)

    def actuator(self, name: str) -> int:
        """Column of an actuator in ctrl."""
        return self.model.actuator(name).id

    def body(self, name: str) -> int:
        """Row of a body in xfrc_applied."""
        return self.model.body(name).id

    def mocap(self, body: str) -> Optional[int]:
        """Row of a body in mocap_pos and mocap_quat, None where it is no mocap body."""
        row = int(self.model.body(body).mocapid[0])
        return row if row >= 0 else None

    def goals(self) -> List[str]:
        """Names of all mocap bodies."""
        names = (self.model.body(i).name for i in range(self.model.nbody))
        return [name for name in names if self.mocap(name) is not None]

    def joints(self) -> List[str]:
        """Names of all joints."""
        return [self.model.joint(i).name for i in range(self.model.njnt)]

    def sensors(self) -> List[str]:
        """Names of all sensors."""
        return [self.model.sensor(i).name for i in range(self.model.nsensor)]


def columns(address: "object", width: int) -> List[int]:
    """`width` columns from the one in an array of one address."""
    first = int(address[0])  # type: ignore[index]
    return list(range(first, first + width))
