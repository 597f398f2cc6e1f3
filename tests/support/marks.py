"""Marks of tests that need a package which may be missing."""

import importlib.util

import pytest
import torch

needs_warp = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mujoco_warp", "warp")),
    reason="mujoco-warp is not installed",
)

needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")
DEVICES = ["cpu", pytest.param("cuda:0", marks=needs_cuda)]
