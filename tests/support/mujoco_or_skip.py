"""MuJoCo for tests: importing this module skips the test module where MuJoCo is not installed."""

import pytest

mujoco = pytest.importorskip("mujoco", reason="MuJoCo is not installed")
