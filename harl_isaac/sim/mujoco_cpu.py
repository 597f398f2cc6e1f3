"""Physics on the CPU: MuJoCo's own thread-pool batch (`mujoco.batch.Batch`)."""

import copy
from typing import Callable, Dict, List, Optional, Sequence, Tuple

import mujoco
import numpy as np
import torch
from mujoco.batch import DATA_FIELDS, MODEL_FIELDS, Batch, SimulationError

from harl_isaac import ranks

INPUTS = ("ctrl", "xfrc_applied", "mocap_pos", "mocap_quat")
STATE_FIELDS = ("qpos", "qvel") + INPUTS


class MujocoPhysics:
    """`num_envs` copies of one model. Implements `harl_isaac.sim.physics.Physics`, which documents each member.

    The engine computes in float64; the tensors that a task works with are of `dtype` on `device`. When `device` is not
    the CPU, every step copies states and sensors over: correct, but slower than an engine on that device.
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
        # Diverged rows keep their non-finite state, as on the other engine; the task detects and resets them.
        model = copy.copy(model)  # the caller keeps his flags
        model.opt.disableflags |= int(mujoco.mjtDisableBit.mjDSBL_AUTORESET)
        self.model = model
        self.num_envs = num_envs
        self.substeps = substeps
        self.device = device
        self.batch = Batch(model, num_envs, num_threads or ranks.cores())
        self._bind_arrays(tuple(fields))
        self._create_tensors(tuple(fields), dtype)
        self._pushed: Dict[str, int] = {}  # input -> version of its tensor that the engine has
        self._mask = torch.zeros(num_envs, dtype=torch.bool)  # [E] a mask on the host
        self._mask_array = self._mask.numpy()
        self.forward(torch.ones(num_envs, dtype=torch.bool, device=device))

    def _bind_arrays(self, fields: Tuple[str, ...]) -> None:
        """Views of the engine's memory by name, each [E, ...] float64 on the host."""
        inputs = {name: torch.from_numpy(self.batch.bind(name)) for name in STATE_FIELDS + ("qacc_warmstart",)}
        outputs = {name: self._output(name) for name in fields}
        self._arrays: Dict[str, torch.Tensor] = {**inputs, **outputs, "sensors": self._output("sensordata")}
        self._iterations = self._output("solver_niter")  # [E, islands]
        self._motion_array = self._side_by_side()

    def _create_tensors(self, fields: Tuple[str, ...], dtype: torch.dtype) -> None:
        """The tensors that a task works with: copies of the engine's arrays, of `dtype` on the device."""

        def copied(name: str) -> torch.Tensor:
            return self._arrays[name].to(self.device, dtype, copy=True)

        self.motion = self._motion_array.to(self.device, dtype, copy=True)
        self.qpos, self.qvel = self.motion.split((self.model.nq, self.model.nv), 1)
        self.ctrl = copied("ctrl")
        self.xfrc_applied = copied("xfrc_applied")
        self.mocap_pos = copied("mocap_pos")
        self.mocap_quat = copied("mocap_quat")
        self.sensors = copied("sensors")
        self.derived = {name: copied(name) for name in fields}
        self.overflow = torch.zeros(self.num_envs, device=self.device)  # this engine's buffers grow
        self.unconverged = torch.zeros(self.num_envs, device=self.device)
        self._host_motion = self.motion.view(-1).numpy() if self.device.type == "cpu" else None
        self._inputs: Dict[str, torch.Tensor] = {
            "ctrl": self.ctrl,
            "xfrc_applied": self.xfrc_applied,
            "mocap_pos": self.mocap_pos,
            "mocap_quat": self.mocap_quat,
        }
        outputs = {"sensors": self.sensors, **self.derived}
        self._visible: Dict[str, torch.Tensor] = {"qpos": self.qpos, "qvel": self.qvel, **self._inputs, **outputs}
        # Pairs of a task's tensor and the engine's array, both [E, ...].
        self._outputs: List[Tuple[torch.Tensor, torch.Tensor]] = [
            (tensor, self._arrays[name]) for name, tensor in outputs.items() if tensor.numel()
        ]
        self._state: List[Tuple[torch.Tensor, torch.Tensor]] = [
            (self.qpos, self._arrays["qpos"]),
            (self.qvel, self._arrays["qvel"]),
        ]

    def step(self) -> None:
        """Advance every environment by one control step."""
        self._push()
        self._call(self.batch.step, None, self.substeps)
        self._pull()
        stopped = (self._iterations >= self.model.opt.iterations).any(1)
        if self.any_without_sync(stopped):
            self.unconverged.masked_fill_(stopped.to(self.device), 1.0)

    def set_state(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor) -> None:
        """Write rows of positions [E, nq] and velocities [E, nv] where mask [E] is true."""
        self._mask.copy_(mask)
        rows = self._mask[:, None]
        for (tensor, array), value in zip(self._state, (qpos, qvel)):
            array.copy_(torch.where(rows, value.to(array), array))
            tensor.copy_(array)
        self._arrays["qacc_warmstart"].masked_fill_(rows, 0.0)
        self.unconverged.masked_fill_(mask, 0.0)

    def forward(self, mask: torch.Tensor) -> None:
        """Make sensors and derived values current where mask [E] is true."""
        self._push()
        ids = self._ids(mask)
        if len(ids) == 0:
            return
        self._call(self.batch.forward, ids)
        rows = torch.from_numpy(ids)
        device = self.device
        for tensor, array in self._state + self._outputs:
            tensor.index_copy_(0, rows.to(device), array.index_select(0, rows).to(tensor))

    def any_without_sync(self, mask: torch.Tensor) -> bool:
        """Whether mask [E] holds anywhere; exact, since the states are on the host anyway."""
        if self._host_motion is None:
            mask = self._mask.copy_(mask)
        return bool(mask.numpy().any())

    def rows_without_sync(self, mask: torch.Tensor) -> torch.Tensor:
        """Indices of the rows where mask [E] is true."""
        return torch.from_numpy(self._ids(mask)).to(self.device)

    def bounded_without_sync(self, limit: float) -> bool:
        """Whether the norm over all environments is below `limit`, and so each one's; False on another device."""
        motion = self._host_motion
        return motion is not None and bool(np.dot(motion, motion) < limit**2)

    def param(self, name: str) -> torch.Tensor:
        """A model field with a value for each environment, [E, ...] float64 on the host."""
        return torch.from_numpy(self.batch.expand(name))

    def commit_params(self, mask: Optional[torch.Tensor] = None) -> None:
        """Recompute the constants that depend on written model fields, where mask [E] is true."""
        if mask is None:
            self.batch.set_const()
            return
        ids = self._ids(mask)
        if len(ids):
            self.batch.set_const(ids)

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """The engine's state, the task's tensors, and the model fields that differ between environments."""
        visible = {name: tensor.clone() for name, tensor in self._visible.items()}
        params = {
            f"model.{name}": torch.from_numpy(self.batch.expanded(name).copy())
            for name in MODEL_FIELDS
            if self.batch.expanded(name) is not None
        }
        flags = {"unconverged": self.unconverged.clone()}
        return {"integration": torch.from_numpy(self.batch.state.copy()), **visible, **flags, **params}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Continue from a `state_dict`."""
        torch.from_numpy(self.batch.state).copy_(state["integration"])
        for name, tensor in self._visible.items():
            tensor.copy_(state[name])
        self.unconverged.copy_(state.get("unconverged", torch.zeros(())))  # earlier versions had none
        for name, value in state.items():
            if name.startswith("model."):
                self.param(name[len("model.") :]).copy_(value)

    def _ids(self, mask: torch.Tensor) -> np.ndarray:
        """Numbers of the environments where mask [E] is true, on the host."""
        self._mask.copy_(mask)
        return np.flatnonzero(self._mask_array)

    def _push(self) -> None:
        """Hand over the inputs that were written since the last call (torch counts the writes to a tensor)."""
        for name, tensor in self._inputs.items():
            if self._pushed.get(name) != tensor._version:
                self._arrays[name].copy_(tensor)
                self._pushed[name] = tensor._version

    def _pull(self) -> None:
        """Copy states, sensors and derived values from the engine."""
        self.motion.copy_(self._motion_array)
        for tensor, array in self._outputs:
            tensor.copy_(array)

    def _side_by_side(self) -> torch.Tensor:
        """Positions and velocities [E, nq + nv], which lie side by side in the engine's state: one copy for both."""
        state = torch.from_numpy(self.batch.state)
        first = (self._arrays["qpos"].data_ptr() - state.data_ptr()) // state.element_size()
        return state[:, first : first + self.model.nq + self.model.nv]

    def _output(self, name: str) -> torch.Tensor:
        """The engine's array of a derived field. Torch warns about read-only arrays; nobody writes to this one."""
        if name not in DATA_FIELDS:
            raise ValueError(f"{name} is no field of MuJoCo's data; possible: {', '.join(sorted(DATA_FIELDS))}")
        array = self.batch.bind(name)
        array.flags.writeable = True
        return torch.from_numpy(array)

    def _call(self, function: Callable[..., object], *args: object) -> None:
        """Run a function of the batch. Rows that it gave up on become NaN, for the task to detect and reset."""
        try:
            function(*args)
        except SimulationError as error:
            self._arrays["qpos"][torch.from_numpy(error.ids).long()] = float("nan")
