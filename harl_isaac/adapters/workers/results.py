"""`StepResults`: the results of a step, copied by the parent from the shared memory to the training device."""

import weakref
from typing import Dict, Tuple

import numpy as np
import torch
from torch import Tensor

from harl_isaac.adapters.workers.shared_memory import RESULTS, SharedBuffers
from harl_isaac.env import EnvSpec, Step

PORTABLE = 1  # cudaHostRegisterPortable: pinned for every device


class StepResults:
    """Device copies of the workers' results, one of all numbers and one of all flags, and a Step of views into them."""

    def __init__(self, buffers: SharedBuffers, spec: EnvSpec):
        self.layout = buffers.layout
        self.memory = torch.frombuffer(buffers.memory, dtype=torch.uint8)
        if spec.device.type == "cuda":
            pin(self.memory)
        flags_begin = self.layout.placements["flags"].offset
        self.host_numbers = self.memory[:flags_begin].view(torch.float32)
        self.host_flags = self.memory[flags_begin : self.layout.results_size].view(torch.bool)
        self.numbers = torch.zeros_like(self.host_numbers, device=spec.device)
        self.flags = torch.zeros_like(self.host_flags, device=spec.device)
        self.step = self._step(spec)

    def read(self) -> Step:
        """Copy the workers' results to the device.

        There is no need to wait for the copies: workers write again only in a step, whose actions depend on them.
        """
        self.numbers.copy_(self.host_numbers, non_blocking=True)
        self.flags.copy_(self.host_flags, non_blocking=True)
        return self.step

    def wait(self) -> None:
        """Wait for the last copies, before workers write without having been given actions."""
        if self.numbers.is_cuda:
            torch.cuda.current_stream(self.numbers.device).synchronize()

    def last_on_host(self) -> Dict[str, np.ndarray]:
        """Results of the last step by their names in RESULTS, also after a worker has begun to write the next ones."""
        return {name: self._array(name).cpu().numpy() for name in RESULTS}

    def _step(self, spec: EnvSpec) -> Step:
        """Step whose tensors are views into the device copies."""
        layout = self.layout
        outcomes = self._array("outcomes")
        flags = self._array("flags")
        obs, state = self._observations(self._array("views"))
        next_obs, next_state = self._observations(self._array("next_views"))
        columns = {name: spec.reward_agents + i for i, name in enumerate(layout.spec.metrics)}
        columns["restarts"] = -1
        return Step(
            obs=obs,
            state=state,
            reward=outcomes[:, : spec.reward_agents],
            terminated=flags[:, 0],
            truncated=flags[:, 1],
            next_obs=next_obs,
            next_state=next_state,
            metrics={name: outcomes[:, columns[name]] for name in spec.metrics},
            action_mask=tuple(flags[:, mask] for mask in layout.mask_columns) if spec.has_action_mask else None,
            alive=flags[:, layout.alive_columns] if spec.has_alive else None,
        )

    def _array(self, name: str) -> Tensor:
        """Array `name` of RESULTS on the device, as a view."""
        offset, _, shape = self.layout.placements[name]
        count = int(np.prod(shape))
        if name == "flags":
            return self.flags[:count].view(shape)
        first = offset // self.numbers.element_size()
        return self.numbers[first : first + count].view(shape)

    def _observations(self, rows: Tensor) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Split rows [E, V] into observations A x [E, O_i] and state [E, K, S]."""
        layout = self.layout
        state = rows[:, layout.state_columns].view(-1, layout.spec.state_agents, layout.spec.state_size)
        return tuple(rows[:, columns] for columns in layout.obs_columns), state


def pin(memory: Tensor) -> None:
    """Lock shared memory in RAM, so that GPUs read it directly; where that is not permitted, copies are slower."""
    torch.cuda.cudart().cudaHostRegister(memory.data_ptr(), memory.numel(), PORTABLE)
    weakref.finalize(memory, torch.cuda.cudart().cudaHostUnregister, memory.data_ptr())
