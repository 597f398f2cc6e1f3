"""CPU memory that tensors have freed is kept for the next ones."""

import ctypes
import subprocess
import sys

import pytest

from harl_isaac.runtime import keep_freed_memory

FAULTS = """
import resource
import torch
from harl_isaac.runtime import keep_freed_memory

keep_freed_memory()
net = torch.nn.Sequential(torch.nn.Linear(64, 256), torch.nn.ReLU(), torch.nn.Linear(256, 256), torch.nn.ReLU(),
                          torch.nn.Linear(256, 1))
inputs = torch.ones(1000, 64)
for update in range(60):
    if update == 30:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    net(inputs).square().mean().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
ACTIVATIONS = 1000 * 256 * 4 // 4096  # pages of one layer's


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallopt"), reason="no glibc here")
def test_updates_reuse_freed_memory():
    """Left to its defaults, glibc hands back and fetches more than a layer's activations in every third update."""
    result = subprocess.run([sys.executable, "-c", FAULTS], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < 3 * ACTIVATIONS  # there may still be some growth


def test_other_c_libraries_are_left_alone(monkeypatch):
    monkeypatch.setattr(ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
