"""The requirements leave room for those of simulators that users have installed already."""

import importlib.metadata
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
ISAAC_LAB = ["numpy<2", "gymnasium==1.2.0", "pillow==11.3.0", "packaging<24", "torch>=2.7"]  # of its release 2.3.2


def test_it_installs_beside_isaac_lab(tmp_path):
    """pip finds versions for both; nothing is installed."""
    if sys.version_info[:2] != (3, 11) or importlib.util.find_spec("pip") is None:
        pytest.skip("needs pip on Python 3.11, Isaac Lab's")
    pins = tmp_path / "pins.txt"
    pins.write_text("\n".join(ISAAC_LAB))
    words = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--dry-run",
        "--no-build-isolation",
        "--retries",
        "0",
        "--constraint",
        str(pins),
        str(ROOT),
    ]
    result = subprocess.run(words, capture_output=True, text=True)
    if (
        re.search(
            "connection|Name or service|Network is unreachable|No module named 'setuptools'|BackendUnavailable",
            result.stderr,
        )
        and result.returncode
    ):
        pytest.skip("pip reaches no package index: " + result.stderr.strip().split("\n")[-1])
    assert result.returncode == 0, result.stderr
    chosen = dict(re.findall(r"(numpy|gymnasium|pillow)-(\d+\.\d+)", result.stdout.split("Would install")[-1]))
    found = {name: chosen.get(name) or importlib.metadata.version(name) for name in ("numpy", "gymnasium", "pillow")}
    assert found["numpy"].startswith("1.") and found["gymnasium"] == "1.2" and found["pillow"] == "11.3"


def test_the_core_is_allowed_on_isaac_gym_s_python():
    """Python 3.8 with torch 2.4 and numpy 1.23, the newest that Isaac Gym runs with; no MuJoCo there."""
    packaging = pytest.importorskip("packaging.requirements")
    markers = {"python_version": "3.8", "extra": ""}
    required = [packaging.Requirement(text) for text in importlib.metadata.requires("harl-isaac")]
    here = {each.name: each.specifier for each in required if each.marker is None or each.marker.evaluate(markers)}
    assert here["torch"].contains("2.4.1") and here["numpy"].contains("1.23.5")
    assert not {"mujoco", "gymnasium-robotics"} & set(here)
    assert packaging.SpecifierSet(importlib.metadata.metadata("harl-isaac")["Requires-Python"]).contains("3.8.18")
