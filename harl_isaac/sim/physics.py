"""What a task may ask of a physics engine.

Both engines integrate the same MuJoCo model. After `step` positions and velocities are current while sensors describe
the last substep's start (one substep old), on both engines; after `forward` everything is current.
"""

from typing import Dict, Protocol, Tuple

import torch


class Physics(Protocol):
    """State of E environments as float32 tensors on the training device; addresses never change.

    Derived values that a task asks for by MuJoCo's name (`make_physics(..., fields=("cinert", "xpos"))`) are attributes too,
    [E, ...], as old as the sensors. With the RK4 integrator they are those of the last substep's last stage, but for sensors
    and cfrc_ext (computed only for a force, torque or accelerometer sensor): those are of its first stage.
    """

    name: str
    num_envs: int
    qpos: torch.Tensor  # [E, nq] m, rad; free joints: position 3, quaternion wxyz
    qvel: torch.Tensor  # [E, nv] m/s, rad/s; free joints: linear (world), angular (body frame)
    motion: torch.Tensor  # [E, nq + nv] qpos and qvel in a row; not to be written
    ctrl: torch.Tensor  # [E, nu] written by the task
    xfrc_applied: torch.Tensor  # [E, nbody, 6] N, Nm in the world frame, written by the task
    mocap_pos: torch.Tensor  # [E, nmocap, 3] m
    mocap_quat: torch.Tensor  # [E, nmocap, 4] wxyz
    sensors: torch.Tensor  # [E, nsensordata]
    fields: Tuple[str, ...]  # names of the derived values that were asked for
    overflow: torch.Tensor  # [E] float, 1 where contacts or constraints ever ran out of room (some were left out)

    def step(self) -> None:
        """Advance every environment by one control step (all substeps)."""

    def set_state(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor) -> None:
        """Write rows where mask [E] is true: qpos [E, nq], qvel [E, nv]; their solver warm start is cleared."""

    def forward(self, mask: torch.Tensor) -> None:
        """Make derived values current where mask [E] is true; other rows keep theirs."""

    def any_without_sync(self, mask: torch.Tensor) -> bool:
        """False where it is known without waiting for a device that mask [E] holds nowhere; True costs work only."""

    def bounded_without_sync(self, limit: float) -> bool:
        """True only where it is known without waiting that each environment's |(qpos, qvel)| is below `limit`."""

    def param(self, name: str) -> torch.Tensor:
        """A model field with a value for each environment [E, ...], writable in place; see `commit_params`.

        In the engine's own precision and on its own device (float64 on the CPU for MuJoCo). Not for the hot path.
        """

    def commit_params(self) -> None:
        """Recompute the constants that depend on written model fields."""

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """All that is needed to continue exactly from here."""

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Continue from a `state_dict`."""
