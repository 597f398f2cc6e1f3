"""The documentation builds as a site without a warning, and its page of settings knows every key."""

import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest

from harl_isaac.algos import ALGOS
from harl_isaac.registry import import_object

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    for name in ("sphinx", "myst_parser", "furo", "latex2mathml"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e .[docs]")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", str(ROOT / "docs"), str(out)]
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return out


def test_every_page_is_in_the_site(site):
    pages = {path.relative_to(ROOT / "docs").with_suffix(".html") for path in (ROOT / "docs").rglob("*.md")}
    assert all((site / page).is_file() for page in pages) and len(pages) > 12


def test_equations_need_no_script(site):
    text = (site / "algorithms.html").read_text()
    assert text.count("<math ") > 20
    assert "mathjax.js" not in text.lower() and "$" not in text.split("<article")[1].split("</article")[0]


@pytest.mark.parametrize("name", sorted(ALGOS))
def test_every_setting_of_an_algorithm_is_on_the_page(site, name):
    text = (site / "settings.html").read_text()
    for field in fields(import_object(ALGOS[name])):
        assert field.name == "name" or f"algo.{field.name}<" in text, field.name


def test_a_setting_has_its_default_and_its_comment(site):
    lines = (ROOT / "docs" / "settings.md").read_text().split("\n")
    assert "| `algo.clip` | `0.2` | of the policies' ratio and of the value's change (in normalized units) |" in lines
    assert "| `task.physics.gains.kp` | `3.0` | position gain |" in lines
    meaning = "of observations and states, layer: a LayerNorm; running: their running mean and deviation; none"
    assert f"| `algo.input_norm` | `layer` | {meaning} |" in lines  # a comment behind a value in parentheses
