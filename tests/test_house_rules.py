"""Rules of the code that a machine can hold: short functions and files, imports one way, nothing of the host on the hot path."""

import ast
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CODE = sorted(
    path for folder in ("harl_isaac", "tasks", "scripts", "benchmarks", "cfg") for path in (ROOT / folder).rglob("*.py")
)
LIBRARY = [path for path in CODE if path.relative_to(ROOT).parts[0] in ("harl_isaac", "tasks", "cfg")]
HOT = (
    "algos",
    "learning",
    "networks",
    "buffers",
    "sim",
    "hands",
    "games",
    "mamujoco",
    "particles",
)  # folders whose code runs between actions and metrics
HOT_FILES = ("acting.py", "episode_stats.py")
FORBIDDEN = {"item", "cpu", "numpy", "nonzero", "tolist", "masked_select"}
# Construction, and the CPU engine, whose own memory is numpy's and whose rows are chosen on the host.
ALLOWED = {("mujoco_cpu.py", "numpy"), ("mujoco_warp.py", "numpy"), ("base.py", "cpu")}
# A folder may import from those named after it, and from itself.
ROOT_CONTRACT = {"env", "settings", "runtime", "devices", "acting"}
LAYERS = {
    "env": set(),
    "runtime": set(),
    "devices": set(),
    "settings": {"env"},
    "acting": {"env", "runtime"},
    "networks": ROOT_CONTRACT,
    "buffers": ROOT_CONTRACT | {"networks"},
    "learning": ROOT_CONTRACT | {"networks", "buffers"},
    "algos": ROOT_CONTRACT | {"networks", "buffers", "learning", "rl_games"},
    "rl_games": ROOT_CONTRACT | {"learning", "registry", "config"},
    "sim": {"env", "runtime"},
    "tasks": {"env", "settings", "sim"},
    "adapters": ROOT_CONTRACT,
    "registry": {"algos", "tasks"},
    "config": {"registry", "algos", "tasks"},
    "training": ROOT_CONTRACT | {"config", "registry"},
    "rendering": set(),
    "theory": {"env", "tasks"},
    "cli": ROOT_CONTRACT | {"config", "registry", "algos", "tasks", "cfg", "training", "rendering", "theory"},
}


def tree(path):
    return ast.parse(path.read_text(), str(path), feature_version=(3, 8))


def functions(path):
    return [node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef))]


def name(path):
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", CODE, ids=name)
def test_files_and_functions_are_short(path):
    assert len(path.read_text().splitlines()) <= 300
    long = [node.name for node in functions(path) if node.end_lineno - node.lineno + 1 > 60]
    assert long == []


def test_the_median_function_is_under_ten_lines():
    lengths = [node.end_lineno - node.lineno + 1 for path in LIBRARY for node in functions(path)]
    assert statistics.median(lengths) < 10


@pytest.mark.parametrize("path", CODE, ids=name)
def test_modules_and_public_classes_say_what_they_are(path):
    module = tree(path)
    if not path.read_text().strip():
        return
    assert ast.get_docstring(module)
    public = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


def is_hot(path):
    return bool(set(path.relative_to(ROOT).parts) & set(HOT)) or path.name in HOT_FILES


@pytest.mark.parametrize("path", list(filter(is_hot, LIBRARY)), ids=name)
def test_the_hot_path_asks_nothing_of_the_host(path):
    found = {
        node.func.attr
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in FORBIDDEN
    }
    assert {call for call in found if (path.name, call) not in ALLOWED} == set()


def layer(path):
    relative = path.relative_to(ROOT)
    if relative.parts[0] == "tasks":
        return "tasks"
    return relative.parts[1] if len(relative.parts) > 2 else relative.stem


@pytest.mark.parametrize("path", [path for path in LIBRARY if layer(path) in LAYERS], ids=name)
def test_imports_point_one_way(path):
    modules = [node.module for node in ast.walk(tree(path)) if isinstance(node, ast.ImportFrom) and node.module]
    own = {module.split(".")[1] for module in modules if module.startswith("harl_isaac.")}
    assert own - LAYERS[layer(path)] - {layer(path)} == set()


def test_settings_are_never_assigned_after_they_are_made():
    found = [
        (name(path), node.lineno)
        for path in LIBRARY
        for node in ast.walk(tree(path))
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "cfg"
    ]
    assert found == []


def test_the_core_needs_neither_mujoco_nor_a_second_to_spare():
    """Imports with only torch, hydra and numpy, as on Isaac Gym's Python 3.8."""
    hidden = (
        "import sys\nfor name in ('mujoco', 'mujoco_warp', 'warp', 'gymnasium', 'rich', 'tensorboard'):\n"
        "    sys.modules[name] = None\n"
    )
    core = (
        "from harl_isaac.config import register\nregister()\nimport harl_isaac.training.trainer\n"
        "import harl_isaac.check_env, harl_isaac.training.evaluation, harl_isaac.cli.script\n"
        "assert 'mujoco' not in [n for n, m in sys.modules.items() if m]\n"
    )
    result = subprocess.run([sys.executable, "-c", hidden + core], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def python_38():
    """An interpreter of this or another installation, or None."""
    found = [shutil.which("python3.8"), *sorted(map(str, Path.home().glob(".pyenv/versions/3.8.*/bin/python3.8")))]
    works = [path for path in found if path and subprocess.run([path, "-c", ""], capture_output=True).returncode == 0]
    return works[0] if works else None


def test_python_38_compiles_the_library():
    interpreter = python_38()
    if interpreter is None:
        pytest.skip("no python3.8 here")
    program = "import sys\nfor path in sys.argv[1:]:\n    compile(open(path, encoding='utf-8').read(), path, 'exec')\n"
    result = subprocess.run([interpreter, "-c", program, *map(str, CODE)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr


def test_the_library_runs_on_python_38():
    """A static check: what only newer Pythons have. MuJoCo's own parts need 3.11 anyway and are held to it as well."""
    pytest.importorskip("vermin", reason="vermin is not installed")
    files = [str(path) for path in LIBRARY]
    vermin = str(Path(sys.executable).with_name("vermin"))
    result = subprocess.run(
        [vermin, "--no-tips", "--target=3.8-", "--violations", "--eval-annotations", *files],
        capture_output=True,
        text=True,
    )
    assert result.returncode == 0, result.stdout
