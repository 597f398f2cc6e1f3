"""Adam in one kernel, beside torch's own."""

import copy
import subprocess
import sys

import pytest
import torch
from support.marks import DEVICES

from harl_isaac.learning.optimizers import FusedAdam, adam, has_fused_adam, restore

fused = pytest.mark.skipif(not has_fused_adam("cpu"), reason="this torch has no fused Adam on the CPU")
SHAPES = [(4, 3), (3,), (2, 2, 5), ()]


def pair(lr=0.01, eps=1e-5):
    """The same parameters under our optimizer and under torch's."""
    random = torch.Generator().manual_seed(3)
    ours = [torch.randn(shape, generator=random).requires_grad_() for shape in SHAPES]
    theirs = [parameter.detach().clone().requires_grad_() for parameter in ours]
    return adam(ours, lr, eps), torch.optim.Adam(theirs, lr=lr, eps=eps, fused=True), ours, theirs


def give_gradients(ours, theirs, seed):
    """Random gradients, the same for both; some parameters have none."""
    random = torch.Generator().manual_seed(seed)
    for number, (one, other) in enumerate(zip(ours, theirs)):
        grad = torch.randn(one.shape, generator=random) * 10.0 ** (seed % 5 - 3)
        one.grad = None if (seed + number) % 4 == 0 else grad
        other.grad = None if one.grad is None else grad.clone()


def play(one, other, ours, theirs, seeds):
    for seed in seeds:
        give_gradients(ours, theirs, seed)
        for optimizer in (one, other):
            optimizer.param_groups[0]["lr"] = 0.01 / (1 + seed)
            optimizer.step()
            optimizer.zero_grad()
        assert all(parameter.grad is None for parameter in ours)
        for mine, reference in zip(ours, theirs):
            assert torch.equal(mine, reference)


@fused
def test_steps_are_torchs_bit_by_bit():
    one, other, ours, theirs = pair()
    assert isinstance(one, FusedAdam)
    play(one, other, ours, theirs, range(20))


@fused
@pytest.mark.parametrize("from_torch", [False, True])
def test_states_are_exchanged_with_torch(from_torch):
    one, other, ours, theirs = pair()
    play(one, other, ours, theirs, range(5))
    saved = copy.deepcopy((other if from_torch else one).state_dict())
    play(one, other, ours, theirs, range(5, 8))
    wanted = [parameter.detach().clone() for parameter in ours]
    fresh, reference, ours, theirs = pair()
    play(fresh, reference, ours, theirs, range(5))
    for optimizer in (fresh, reference):
        optimizer.load_state_dict(copy.deepcopy(saved))
    play(fresh, reference, ours, theirs, range(5, 8))
    for parameter, value in zip(ours, wanted):
        assert torch.equal(parameter, value)


@fused
def test_a_loaded_state_is_its_own():
    one, other, ours, theirs = pair()
    play(one, other, ours, theirs, range(2))
    second, *_ = pair()
    second.load_state_dict(one.state_dict())
    before = copy.deepcopy(second.state_dict())
    play(one, other, ours, theirs, range(2, 4))
    for number, state in before["state"].items():
        for name, value in state.items():
            assert torch.equal(second.state_dict()["state"][number][name], value)


@fused
@pytest.mark.parametrize("device", DEVICES)
def test_a_state_read_on_the_host_goes_on_on_the_device(device):
    """Checkpoints are read on the host: no tensor of the state stays there, and the learning rate stays a number."""
    there, other, ours, theirs = pair()
    play(there, other, ours, theirs, range(3))
    moved = [parameter.detach().to(device).requires_grad_() for parameter in ours]
    here = adam(moved, 0.01, 1e-5)
    here.load_state_dict(copy.deepcopy(there.state_dict()))
    assert isinstance(here.param_groups[0]["lr"], float)
    assert {value.device.type for state in here.state.values() for value in state.values()} == {device.split(":")[0]}
    give_gradients(ours, theirs, 3)
    for parameter, mine in zip(moved, ours):
        parameter.grad = None if mine.grad is None else mine.grad.to(device)
    there.step()
    here.step()
    for parameter, mine in zip(moved, ours):
        torch.testing.assert_close(parameter.cpu(), mine, rtol=1e-6, atol=1e-7)


@fused
def test_a_state_of_other_parameters_is_refused():
    one, *_ = pair()
    with pytest.raises(RuntimeError, match="an optimizer of 1 parameters, 4 saved"):
        restore([adam([torch.zeros(3, requires_grad=True)], 0.1, 1e-8)], [one.state_dict()])


@fused
def test_no_compiler_is_imported():
    """It takes two seconds of every start."""
    program = """
import sys, torch
from harl_isaac.learning.optimizers import adam
parameter = torch.zeros(3, requires_grad=True)
optimizer = adam([parameter], 0.1, 1e-8)
parameter.sum().backward()
optimizer.step()
optimizer.load_state_dict(optimizer.state_dict())
sys.exit("torch._dynamo" in sys.modules)
"""
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
