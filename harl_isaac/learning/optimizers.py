"""Optimizers: Adam as the networks use it, and undoing its steps without a read on the host."""

from contextlib import contextmanager
from functools import lru_cache
from typing import Any, Dict, Iterable, Iterator, List, Sequence, Tuple, Union

import torch
from torch import Tensor


class FusedAdam:
    """Adam (Kingma and Ba, 2015) in one kernel of torch's, which reads nothing on the host.

    Equal to `torch.optim.Adam(fused=True)` bit by bit, with the same state; it spares the two seconds in which torch's
    own optimizers import the compiler. `param_groups` has one group.
    """

    def __init__(self, parameters: Iterable[Tensor], lr: float, eps: float, betas: Tuple[float, float] = (0.9, 0.999)):
        self.defaults: Dict[str, Any] = {"lr": lr, "betas": betas, "eps": eps}
        self.param_groups: List[Dict[str, Any]] = [{"params": list(parameters), **self.defaults}]
        self.state: Dict[Tensor, Dict[str, Tensor]] = {}

    def zero_grad(self) -> None:
        """Forget all gradients."""
        for parameter in self.param_groups[0]["params"]:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Move the parameters that have a gradient."""
        step_with(self.param_groups[0], [self])

    def moved(self) -> List[Tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]:
        """Each parameter that has a gradient, with it and what `_state_of` has: means, squares, steps."""
        result = []
        for parameter in self.param_groups[0]["params"]:
            if parameter.grad is not None:
                state = self._state_of(parameter)
                result.append((parameter, parameter.grad, state["exp_avg"], state["exp_avg_sq"], state["step"]))
        return result

    def state_dict(self) -> Dict[str, Any]:
        """The state of torch's Adam: parameters by their numbers."""
        group = {**UNUSED, **self.param_groups[0]}
        parameters = group["params"]
        group["params"] = list(range(len(parameters)))
        state = {number: dict(self.state[each]) for number, each in enumerate(parameters) if each in self.state}
        return {"state": state, "param_groups": [group]}

    def load_state_dict(self, saved: Dict[str, Any]) -> None:
        """Go on from a `state_dict`, or one of torch's Adam. Raises RuntimeError for one of other parameters."""
        group = self.param_groups[0]
        parameters = group["params"]
        (other,) = saved["param_groups"]
        numbers = list(other["params"])
        if len(numbers) != len(parameters):
            raise RuntimeError(f"an optimizer of {len(parameters)} parameters, {len(numbers)} saved")
        for name in self.defaults:
            group[name] = other[name]
        self.state = {}
        for number, parameter in zip(numbers, parameters):
            if number in saved["state"]:
                self.state[parameter] = _own_copy(saved["state"][number], parameter)

    def _state_of(self, parameter: Tensor) -> Dict[str, Tensor]:
        """Steps, and moving means of the gradient and its square; zeros at first."""
        if parameter not in self.state:
            self.state[parameter] = {
                "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                "exp_avg": torch.zeros_like(parameter, memory_format=torch.preserve_format),
                "exp_avg_sq": torch.zeros_like(parameter, memory_format=torch.preserve_format),
            }
        return self.state[parameter]


Optimizer = Union[FusedAdam, torch.optim.Adam]
# Settings of torch's Adam that are not used here, for files that it reads.
UNUSED = {
    "weight_decay": 0,
    "amsgrad": False,
    "maximize": False,
    "foreach": None,
    "capturable": False,
    "differentiable": False,
    "fused": None,
}


def adam(parameters: Iterable[Tensor], lr: float, eps: float) -> Optimizer:
    """Adam in one kernel where this torch has it for the parameters' device (it then reads nothing on the host)."""
    parameters = list(parameters)
    if has_fused_adam(parameters[0].device.type):
        return FusedAdam(parameters, lr, eps)
    return torch.optim.Adam(parameters, lr=lr, eps=eps)  # torch < 2.4 on the CPU


@lru_cache(maxsize=None)
def has_fused_adam(device: str) -> bool:
    """Whether this torch has Adam in one kernel on a type of device."""
    one = [torch.zeros(1, device=device)]
    try:
        _fused_step(one, one, one, one, one, {"lr": 0.0, "betas": (0.9, 0.999), "eps": 1e-8})
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return True


@torch.no_grad()
def step_with(group: Dict[str, Any], optimizers: Sequence[FusedAdam]) -> None:
    """A step of several optimizers with the settings in `group`, in one kernel."""
    moved = [each for optimizer in optimizers for each in optimizer.moved()]
    if moved:
        parameters, grads, means, squares, steps = (list(tensors) for tensors in zip(*moved))
        torch._foreach_add_(steps, 1)
        _fused_step(parameters, grads, means, squares, steps, group)


def step_together(optimizers: Sequence[Optimizer]) -> None:
    """A step of each optimizer, in one kernel where they are alike."""
    fused = [each for each in optimizers if isinstance(each, FusedAdam)]
    groups = [{name: each.param_groups[0][name] for name in each.defaults} for each in fused]
    if len(fused) == len(optimizers) and all(group == groups[0] for group in groups):
        step_with(groups[0], fused)
        return
    for optimizer in optimizers:
        optimizer.step()


def _fused_step(
    parameters: List[Tensor],
    grads: List[Tensor],
    means: List[Tensor],
    squares: List[Tensor],
    steps: List[Tensor],
    group: Dict[str, Any],
) -> None:
    """A step of Adam by torch's kernel."""
    torch._fused_adam_(
        parameters,
        grads,
        means,
        squares,
        [],
        steps,
        lr=group["lr"],
        beta1=group["betas"][0],
        beta2=group["betas"][1],
        weight_decay=0.0,
        eps=group["eps"],
        amsgrad=False,
        maximize=False,
    )


def _own_copy(state: Dict[str, Any], parameter: Tensor) -> Dict[str, Any]:
    """A copy of a parameter's saved state on its device; what is no tensor stays, to be refused."""
    return {
        name: value.to(parameter.device, copy=True) if isinstance(value, Tensor) else value
        for name, value in state.items()
    }


def parameters_of(optimizer: Optimizer) -> List[Tensor]:
    """All parameters that an optimizer moves."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def restore(optimizers: Sequence[Optimizer], states: Sequence[Dict[str, Any]]) -> None:
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
def rollback_unless(condition: Tensor, optimizer: Optimizer) -> Iterator[None]:
    """Undo changes to parameters and optimizer state on exit unless `condition` [] holds."""
    before = {id(tensor): tensor.clone() for tensor in _tensors(optimizer)}
    yield
    with torch.no_grad():
        for tensor in _tensors(optimizer):
            old = before.get(id(tensor))
            if old is None:  # made inside, from zeros
                old = torch.zeros_like(tensor)
            tensor.copy_(torch.where(condition, tensor, old))


def _tensors(optimizer: Optimizer) -> List[Tensor]:
    parameters = parameters_of(optimizer)
    states = [value for parameter in parameters for value in optimizer.state.get(parameter, {}).values()]
    return parameters + [value for value in states if isinstance(value, Tensor)]
