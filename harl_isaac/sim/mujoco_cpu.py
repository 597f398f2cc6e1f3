"""Physics on the CPU: MuJoCo's own thread-pool batch (`mujoco.batch.Batch`)."""

import copy
from typing import Dict, Sequence

import mujoco
import numpy as np
import torch
from mujoco.batch import DATA_FIELDS, MODEL_FIELDS, Batch, SimulationError

INPUTS = ("ctrl", "xfrc_applied", "mocap_pos", "mocap_quat")
STATE_FIELDS = ("qpos", "qvel", "ctrl", "xfrc_applied", "mocap_pos", "mocap_quat")


class MujocoPhysics:
    """`num_envs` copies of one model. Implements `harl_isaac.sim.physics.Physics`, which documents each member.

    The engine computes in float64; the tensors that a task sees are of `dtype` on `device`. When `device` is not the CPU,
    every step copies states and sensors over: correct, but slower than an engine on that device.
    """

    name = "mujoco"

    def __init__(
        self,
        model: "mujoco.MjModel",
        num_envs: int,
        substeps: int,
        device: torch.device,
        fields: Sequence[str] = (),
        dtype: torch.dtype = torch.float32,
        num_threads: int = 0,
    ):
        # Diverged rows keep their non-finite state, as on the other engine; the task sees and resets them.
        model = copy.copy(model)  # the caller keeps his flags
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.model = model
        self.num_envs = num_envs
        self.substeps = substeps
        self.device = device
        self.fields = tuple(fields)
        self.batch = Batch(model, num_envs, num_threads)
        self._rows = {name: torch.from_numpy(self.batch.bind(name)) for name in STATE_FIELDS + ("qacc_warmstart",)}
        self._rows.update({name: self._output(name) for name in self.fields}, sensors=self._output("sensordata"))
        self._motion_rows = self._side_by_side()
        self.motion = self._motion_rows.to(device, dtype, copy=True)
        self.qpos, self.qvel = self.motion.split((model.nq, model.nv), 1)
        self._visible = STATE_FIELDS + ("sensors",) + self.fields
        for name in self._visible[2:]:
            setattr(self, name, self._rows[name].to(device, dtype, copy=True))
        self._derived = tuple(name for name in ("sensors",) + self.fields if getattr(self, name).numel())
        self.overflow = torch.zeros(num_envs, device=device)  # this engine makes room as it goes
        self._host_motion = self.motion.view(-1).numpy() if device.type == "cpu" else None
        self._pushed = {}  # type: Dict[str, int]
        self._masked = torch.zeros(num_envs, dtype=torch.bool)
        self._mask_array = self._masked.numpy()
        self.forward(torch.ones(num_envs, dtype=torch.bool, device=device))

    def step(self) -> None:
        self._push()
        self._call(self.batch.step, None, self.substeps)
        self._pull()

    def set_state(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor) -> None:
        self._masked.copy_(mask)
        rows = self._masked[:, None]
        for name, value in (("qpos", qpos), ("qvel", qvel), ("qacc_warmstart", 0.0)):
            row = self._rows[name]
            value = value.to(row) if isinstance(value, torch.Tensor) else torch.full_like(row, value)
            row.copy_(torch.where(rows, value, row))
            if name in STATE_FIELDS:
                getattr(self, name).copy_(row)

    def forward(self, mask: torch.Tensor) -> None:
        self._push()
        self._masked.copy_(mask)
        ids = np.flatnonzero(self._mask_array)
        if len(ids) == 0:
            return
        self._call(self.batch.forward, ids)
        rows = torch.from_numpy(ids)
        device = self.device
        for name in ("qpos", "qvel") + self._derived:
            mine = getattr(self, name)
            mine.index_copy_(0, rows.to(device), self._rows[name].index_select(0, rows).to(mine))

    def any_without_sync(self, mask: torch.Tensor) -> bool:
        if self._host_motion is None:
            mask = self._masked.copy_(mask)
        return bool(mask.numpy().any())

    def bounded_without_sync(self, limit: float) -> bool:
        motion = self._host_motion
        return motion is not None and bool(np.dot(motion, motion) < limit**2)  # all in all, and so each

    def param(self, name: str) -> torch.Tensor:
        return torch.from_numpy(self.batch.expand(name))

    def commit_params(self) -> None:
        self.batch.set_const()

    def state_dict(self) -> Dict[str, torch.Tensor]:
        visible = {name: getattr(self, name).clone() for name in self._visible}
        params = {
            "model." + name: torch.from_numpy(self.batch.expanded(name).copy())
            for name in MODEL_FIELDS
            if self.batch.expanded(name) is not None
        }
        return {"integration": torch.from_numpy(self.batch.state.copy()), **visible, **params}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        torch.from_numpy(self.batch.state).copy_(state["integration"])
        for name in self._visible:
            getattr(self, name).copy_(state[name])
        for name in state:
            if name.startswith("model."):
                self.param(name[6:]).copy_(state[name])

    def _push(self) -> None:
        """Hand over the inputs that were written since the last call (torch counts the writes to a tensor)."""
        for name in INPUTS:
            value = getattr(self, name)
            if self._pushed.get(name) != value._version:
                self._rows[name].copy_(value)
                self._pushed[name] = value._version

    def _pull(self) -> None:
        self.motion.copy_(self._motion_rows)
        for name in self._derived:
            getattr(self, name).copy_(self._rows[name])

    def _side_by_side(self) -> torch.Tensor:
        """Positions and velocities stand in a row in the engine's state: [E, nq + nv], one copy for both."""
        state = torch.from_numpy(self.batch.state)
        first = (self._rows["qpos"].data_ptr() - state.data_ptr()) // state.element_size()
        return state[:, first : first + self.model.nq + self.model.nv]

    def _output(self, name: str) -> torch.Tensor:
        """The engine's array of a derived field. Torch warns about read-only arrays; nobody writes to this one."""
        if name not in DATA_FIELDS:
            raise ValueError(
                "{} is no field of MuJoCo's data; possible: {}".format(name, ", ".join(sorted(DATA_FIELDS)))
            )
        array = self.batch.bind(name)
        array.flags.writeable = True
        return torch.from_numpy(array)

    def _call(self, function, *args) -> None:
        try:
            function(*args)
        except SimulationError as error:  # the engine gave up on some rows: let the task find and reset them
            self._rows["qpos"][torch.from_numpy(error.ids).long()] = float("nan")
