"""Optimizers: Adam as the networks use it, and undoing its steps without a read on the host."""

from contextlib import contextmanager
from typing import Any, Dict, Iterable, Iterator, List, Sequence

import torch
from torch import Tensor


def adam(parameters: Iterable[Tensor], lr: float, eps: float) -> torch.optim.Adam:
    """Adam in one kernel where this torch has it for the parameters' device (it then reads nothing on the host)."""
    parameters = list(parameters)
    try:
        return torch.optim.Adam(parameters, lr=lr, eps=eps, fused=True)
    except RuntimeError:  # torch < 2.4 on the CPU
        return torch.optim.Adam(parameters, lr=lr, eps=eps)


def parameters_of(optimizer: torch.optim.Optimizer) -> List[Tensor]:
    """All parameters that an optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def restore(optimizers: Sequence[torch.optim.Optimizer], states: Sequence[Dict[str, Any]]) -> None:
    """Load the optimizers' states. Raises RuntimeError where they are not those of the parameters."""
    if len(states) != len(optimizers):
        raise RuntimeError(f"{len(optimizers)} optimizers, {len(states)} saved")
    for optimizer, saved in zip(optimizers, states):
        optimizer.load_state_dict(saved)
        for parameter in parameters_of(optimizer):
            for name, value in optimizer.state.get(parameter, {}).items():
                _check_fits(name, value, parameter)


def _check_fits(name: str, value: Any, parameter: Tensor) -> None:
    shape = () if name == "step" else tuple(parameter.shape)
    if not isinstance(value, Tensor) or tuple(value.shape) != shape or value.dtype != parameter.dtype:
        found = f"{value.dtype} {tuple(value.shape)}" if isinstance(value, Tensor) else "no tensor"
        raise RuntimeError(f"an optimizer's {name} is {found}, not {parameter.dtype} {shape}")


@contextmanager
def rollback_unless(condition: Tensor, optimizer: torch.optim.Optimizer) -> Iterator[None]:
    """Undo changes to parameters and optimizer state on exit unless `condition` [] holds."""
    before = {id(tensor): tensor.clone() for tensor in _tensors(optimizer)}
    yield
    with torch.no_grad():
        for tensor in _tensors(optimizer):
            old = before.get(id(tensor))
            if old is None:  # made inside, from zeros
                old = torch.zeros_like(tensor)
            tensor.copy_(torch.where(condition, tensor, old))


def _tensors(optimizer: torch.optim.Optimizer) -> List[Tensor]:
    parameters = parameters_of(optimizer)
    states = [value for parameter in parameters for value in optimizer.state.get(parameter, {}).values()]
    return parameters + [value for value in states if isinstance(value, Tensor)]
