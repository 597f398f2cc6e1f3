"""The protocol of a physics engine: what a task can rely on.

Both engines integrate the same MuJoCo model. After `step` positions and velocities are current while sensors describe
the last substep's start (one substep old), on both engines; after `forward` everything is current.
"""

from typing import Dict, Optional, Protocol

import torch


class Physics(Protocol):
    """State of E environments as float32 tensors on the training device; addresses never change."""

    name: str
    num_envs: int
    qpos: torch.Tensor  # [E, nq] m, rad; free joints: position 3, quaternion wxyz
    qvel: torch.Tensor  # [E, nv] m/s, rad/s; free joints: linear (world), angular (body frame)
    ctrl: torch.Tensor  # [E, nu] written by the task
    xfrc_applied: torch.Tensor  # [E, nbody, 6] N, Nm in the world frame, written by the task
    mocap_pos: torch.Tensor  # [E, nmocap, 3] m
    mocap_quat: torch.Tensor  # [E, nmocap, 4] wxyz
    sensors: torch.Tensor  # [E, nsensordata]
    # Derived values [E, ...] that were asked for by MuJoCo's name (`make_physics(..., fields=("cinert", "xpos"))`), as
    # old as the sensors. With the RK4 integrator they are those of the last substep's last stage, but for sensors and
    # cfrc_ext (computed only for a force, torque or accelerometer sensor): those are of its first stage.
    derived: Dict[str, torch.Tensor]

    @property
    def motion(self) -> torch.Tensor:
        """Columns of qpos and qvel side by side, [E, nq + nv]; not to be written."""

    @property
    def overflow(self) -> torch.Tensor:
        """1 where a buffer for contacts or constraints overflowed in this episode (some were left out), [E] float."""

    @property
    def unconverged(self) -> torch.Tensor:
        """1 where the solver stopped at its limit of iterations in this episode, [E] float.

        Of a control step's substeps the CPU engine looks at the last one.
        """

    def step(self) -> None:
        """Advance every environment by one control step (all substeps)."""

    def set_state(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor) -> None:
        """Write rows where mask [E] is true: qpos [E, nq], qvel [E, nv]; their solver warm start is cleared.

        An episode begins there: `overflow` and `unconverged` are 0 again.
        """

    def forward(self, mask: torch.Tensor) -> None:
        """Make sensors and derived values current where mask [E] is true; other rows keep theirs."""

    def any_without_sync(self, mask: torch.Tensor) -> bool:
        """Whether mask [E] holds anywhere. True where an answer would wait for a device: that costs work only."""

    def rows_without_sync(self, mask: torch.Tensor) -> torch.Tensor:
        """Indices of rows, all those where mask [E] is true among them; every row where an answer would wait."""

    def bounded_without_sync(self, limit: float) -> bool:
        """Whether each environment's |(qpos, qvel)| is below `limit`. False where an answer would wait for a device."""

    def param(self, name: str) -> torch.Tensor:
        """A model field with a value for each environment [E, ...], writable in place; see `commit_params`.

        In the engine's own precision and on its own device (float64 on the CPU for MuJoCo). Not for the hot path.
        Raises ValueError for a name that cannot differ between environments.
        """

    def commit_params(self, mask: Optional[torch.Tensor] = None) -> None:
        """Recompute the constants that depend on written masses, inertias, sizes and places.

        Where mask [E] is true or, without one, everywhere; states, sensors and derived values stay as they are. On the
        GPU it costs more than a step.
        """

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """Everything needed to continue exactly from here."""

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Continue from a `state_dict`."""
