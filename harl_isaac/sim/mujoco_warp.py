"""Physics on a GPU: MuJoCo Warp, with torch views of its arrays and its kernels in CUDA graphs.

On the CPU device the same kernels run one after another: slow, meant for tests.
"""

from typing import Callable, ContextManager, Dict, Optional, Sequence, Tuple

import mujoco
import mujoco_warp as mjw
import numpy as np
import torch
import warp as wp

from harl_isaac.runtime import no_garbage_collection, said_if_slow
from harl_isaac.sim.warp_graphs import FEW_ITERATIONS, choose_graphs
from harl_isaac.sim.warp_model import DERIVED, buffer_sizes, per_environment, portable

VISIBLE = {
    "qpos": "qpos",
    "qvel": "qvel",
    "ctrl": "ctrl",
    "xfrc_applied": "xfrc_applied",
    "mocap_pos": "mocap_pos",
    "mocap_quat": "mocap_quat",
    "sensors": "sensordata",
}
COMPILING = "the physics' kernels are compiled for this GPU: once, for one to three minutes"
STOPPED = int(mjw.OverflowType.ITERATIONS)
LOST = int(mjw.OverflowType.ALL) & ~STOPPED & ~int(mjw.OverflowType.LS_ITERATIONS)  # contacts or rows were left out
HIDDEN = ("time", "act", "history", "plastic", "qacc_warmstart", "qfrc_applied", "eq_active")
PUSHES = ("ctrl", "xfrc_applied")  # what a step reads after its positions and velocities
IN_HALVES = (mujoco.mjtIntegrator.mjINT_EULER, mujoco.mjtIntegrator.mjINT_IMPLICITFAST)  # integrators of mjw.step2


class WarpPhysics:
    """`num_envs` copies of one model. Implements `harl_isaac.sim.physics.Physics`, which documents each member.

    The engine computes in float32, and the tensors are its own memory: a write to one is the state of the next call.
    """

    name = "mujoco_warp"

    def __init__(
        self,
        model: "mujoco.MjModel",
        num_envs: int,
        substeps: int,
        device: torch.device,
        fields: Sequence[str] = (),
        dtype: torch.dtype = torch.float32,
    ):
        if dtype != torch.float32:
            raise ValueError(f"sim=mujoco_warp computes in float32, not in {dtype}; use sim=mujoco")
        self.model = model
        self.num_envs = num_envs
        self.substeps = substeps
        self.device = device
        self._warp = warp_device(device)
        use = choose_graphs(self._warp)
        self.note = use.note
        self._use_graphs = use.graphs
        self._graphs: Dict[str, wp.Graph] = {}
        self._params: Dict[str, torch.Tensor] = {}
        with wp.ScopedDevice(self._warp):
            source = portable(model)
            self._model = mjw.put_model(source)
            self._model.opt.warn_overflow = False
            if use.graphs and not use.conditional:
                self._model.opt.graph_conditional = False
                self._model.opt.iterations = min(int(self._model.opt.iterations), FEW_ITERATIONS)
            contacts, rows = buffer_sizes(source, self._model)
            self._data = mjw.make_data(source, num_envs, nconmax=contacts, njmax=rows)
        self._bind(tuple(fields))
        # A first substep can go on from a forward if a later one renews the sensors and `derived` is not put back.
        self._goes_on = substeps > 1 and not fields and model.opt.integrator in IN_HALVES
        self._computed: Optional[Tuple[int, ...]] = None  # what the last forward was computed of, see `_written`
        self._warm_up()

    def _bind(self, fields: Tuple[str, ...]) -> None:
        """Create tensors that view the engine's arrays, each [E, ...]."""
        arrays = {**VISIBLE, **{name: name for name in HIDDEN + fields}}
        self._state: Dict[str, torch.Tensor] = {
            name: self._view(getattr(self._data, field)) for name, field in arrays.items()
        }
        self.qpos = self._state["qpos"]
        self.qvel = self._state["qvel"]
        self.ctrl = self._state["ctrl"]
        self.xfrc_applied = self._state["xfrc_applied"]
        self.mocap_pos = self._state["mocap_pos"]
        self.mocap_quat = self._state["mocap_quat"]
        self.sensors = self._state["sensors"]
        self.derived = {name: self._state[name] for name in fields}
        self._flags = self._view(self._data.overflow)  # [E] int32, of mjw.OverflowType
        # Buffers for values from before a forward, of which rows outside of the mask are restored.
        self._backup = {name: self._state[name].clone() for name in ("sensors", *fields) if self._state[name].numel()}

    @property
    def motion(self) -> torch.Tensor:
        """Columns of qpos and qvel side by side, [E, nq + nv]."""
        return torch.cat((self.qpos, self.qvel), 1)

    @property
    def overflow(self) -> torch.Tensor:
        """1 where a buffer for contacts or constraints overflowed in this episode, [E] float."""
        return (self._flags & LOST != 0).float()

    @property
    def unconverged(self) -> torch.Tensor:
        """1 where the solver stopped at its limit of iterations in this episode, [E] float."""
        return (self._flags & STOPPED != 0).float()

    def step(self) -> None:
        """Advance every environment by one control step.

        Right after a `forward`, which began the same step, it goes on from there: to the bit the same, for a third less
        of a substep's work.
        """
        if self._computed == self._written():
            self._run("rest", self._rest)
        else:
            self._run("step", self._substeps)
        self._computed = None

    def set_state(self, mask: torch.Tensor, qpos: torch.Tensor, qvel: torch.Tensor) -> None:
        """Write rows of positions [E, nq] and velocities [E, nv] where mask [E] is true."""
        rows = mask[:, None]
        torch.where(rows, qpos, self.qpos, out=self.qpos)
        torch.where(rows, qvel, self.qvel, out=self.qvel)
        self._state["qacc_warmstart"].masked_fill_(rows, 0.0)
        self._flags.masked_fill_(mask, 0)

    def forward(self, mask: torch.Tensor) -> None:
        """Make sensors and derived values current where mask [E] is true; no work for a model that has neither."""
        if not self._backup:
            return
        self._keep()
        self._run("forward", self._forward)
        for name, backup in self._backup.items():
            value = self._state[name]
            torch.where(mask.view((-1,) + (1,) * (value.dim() - 1)), value, backup, out=value)
        self._computed = self._written() if self._goes_on else None

    def any_without_sync(self, mask: torch.Tensor) -> bool:
        """Whether mask [E] holds anywhere; True on a GPU, where an answer would wait."""
        return self._warp.is_cuda or bool(mask.numpy().any())

    def rows_without_sync(self, mask: torch.Tensor) -> torch.Tensor:
        """Indices of all rows; on the CPU of those where mask [E] is true."""
        if self._warp.is_cuda:
            return torch.arange(self.num_envs, device=self.device)
        return torch.from_numpy(np.flatnonzero(mask.numpy()))

    def bounded_without_sync(self, limit: float) -> bool:
        """False: nothing is known without waiting."""
        return False

    def param(self, name: str) -> torch.Tensor:
        """A model field with a value for each environment, [E, ...] float32 on the device."""
        for field in (name,) + DERIVED.get(name, ()):
            self._expand(field)
        return self._params[name]

    def commit_params(self, mask: Optional[torch.Tensor] = None) -> None:
        """Recompute the constants that depend on written model fields: of all environments, whatever the mask."""
        self._keep()
        self._run("constants", self._constants)
        if not self._use_graphs:
            wp.synchronize_device(self._warp)  # its temporary arrays are freed in another stream's order
        for name, backup in self._backup.items():
            self._state[name].copy_(backup)

    def state_dict(self) -> Dict[str, torch.Tensor]:
        """The engine's state, and the model fields that differ between environments."""
        params = {f"model.{name}": value.clone() for name, value in self._params.items()}
        values = {name: value.clone() for name, value in self._state.items()}
        return {**values, "flags": self._flags.clone(), **params}

    def load_state_dict(self, state: Dict[str, torch.Tensor]) -> None:
        """Continue from a `state_dict`."""
        for name, tensor in self._state.items():
            tensor.copy_(state[name])
        self._flags.copy_(state.get("flags", torch.zeros_like(self._flags)))  # earlier versions had none
        for name, value in state.items():
            if name.startswith("model."):
                field = name[len("model.") :]
                self._expand(field)
                self._params[field].copy_(value)

    def _view(self, array: "wp.array") -> torch.Tensor:
        """The array's memory as a tensor; a tensor without elements where it has none."""
        if array.size == 0:
            return torch.zeros(tuple(array.shape) + tuple(getattr(array.dtype, "_shape_", ())), device=self.device)
        return wp.to_torch(array)

    def _warm_up(self) -> None:
        """Compile the kernels, which a graph cannot do, and make all values those of the first state."""
        if self._warp.is_cuda:
            with wp.ScopedDevice(self._warp), said_if_slow(COMPILING):
                self._substeps()
                if self._goes_on:
                    self._rest()
                mjw.reset_data(self._model, self._data)
        wp.synchronize_device(self._warp)
        self.forward(torch.ones(self.num_envs, dtype=torch.bool, device=self.device))

    def _substeps(self) -> None:
        """One control step."""
        for _ in range(self.substeps):
            mjw.step(self._model, self._data)

    def _rest(self) -> None:
        """One control step but for the positions and velocities of its first substep, which are computed."""
        mjw.step2(self._model, self._data)
        for _ in range(self.substeps - 1):
            mjw.step(self._model, self._data)

    def _forward(self) -> None:
        """Compute derived values. Leaves qacc_warmstart alone, from which a row's next step starts."""
        mjw.forward(self._model, self._data)

    def _constants(self) -> None:
        """Compute the constants, of the bodies in the model's own pose."""
        mjw.set_const(self._model, self._data)

    def _written(self) -> Tuple[int, ...]:
        """Torch's counts of writes to everything that positions and velocities are computed of."""
        state = [value._version for name, value in self._state.items() if name not in PUSHES]
        return (*state, *(value._version for value in self._params.values()))

    def _keep(self) -> None:
        """Copy the sensors and derived values of now to the backup."""
        for name, backup in self._backup.items():
            backup.copy_(self._state[name])

    def _run(self, name: str, work: Callable[[], None]) -> None:
        """Run `work` in the order of torch's stream; where graphs are used, replay the one captured first."""
        if not self._use_graphs:
            with self._scope():
                work()
            return
        if name not in self._graphs:
            device = self._warp
            with no_garbage_collection(), wp.ScopedDevice(device), wp.ScopedCapture(device=device) as capture:
                work()
            self._graphs[name] = capture.graph
        wp.capture_launch(self._graphs[name], stream=self._torch_stream())

    def _scope(self) -> "ContextManager[object]":
        """Context in which Warp's kernels go to this engine's device and to torch's current stream."""
        stream = self._torch_stream()
        return wp.ScopedDevice(self._warp) if stream is None else wp.ScopedStream(stream)

    def _torch_stream(self) -> Optional["wp.Stream"]:
        """Torch's current stream in Warp's terms; None on the CPU."""
        return wp.stream_from_torch(torch.cuda.current_stream(self.device)) if self._warp.is_cuda else None

    def _expand(self, name: str) -> None:
        """Give a model field a value for each environment; captured graphs, which hold its old address, go."""
        if name in self._params:
            return
        is_option = name.startswith("opt.")
        owner = self._model.opt if is_option else self._model
        field = name[len("opt.") :] if is_option else name
        if field not in per_environment(owner):
            possible = ", ".join(per_environment(owner))
            raise ValueError(f"model field {name} cannot differ between environments; possible: {possible}")
        wp.synchronize_device(self._warp)  # no kernel may still read the array that is replaced
        shared = getattr(owner, field)
        values = self._view(shared)
        self._params[name] = values.expand(self.num_envs, *values.shape[1:]).contiguous().clone()
        setattr(owner, field, wp.from_torch(self._params[name], dtype=shared.dtype))
        self._graphs.clear()


def warp_device(device: torch.device) -> "wp.Device":
    """The Warp device of a torch device. Raises ValueError where Warp has no such device."""
    wp.config.log_level = max(wp.config.log_level, wp.LOG_WARNING)
    wp.init()
    if device.type == "cpu":
        return wp.get_device("cpu")
    if device.type != "cuda" or not wp.is_cuda_available():
        raise ValueError(
            f"sim=mujoco_warp cannot run on device={device}: warp sees no CUDA device; use sim=mujoco or "
            "install a CUDA driver"
        )
    index = torch.cuda.current_device() if device.index is None else device.index
    return wp.get_device(f"cuda:{index}")
