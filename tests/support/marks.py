"""Marks of tests that need a package which may be missing."""

import importlib.util

import pytest

needs_warp = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("mujoco_warp", "warp")),
    reason="mujoco-warp is not installed",
)
