"""Rules of the code that a machine can hold: layers, lengths, the hot path, one thought a line, the field's words."""

import ast
import functools
import io
import re
import shutil
import statistics
import subprocess
import sys
import tokenize
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
FOLDERS = ("harl_isaac", "tasks", "cfg", "benchmarks", "scripts")
MODULES = [path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")]
CODE = sorted([ROOT / "train.py", ROOT / "setup.py", *MODULES])
LIBRARY = [path for path in CODE if path.relative_to(ROOT).parts[0] in ("harl_isaac", "tasks", "cfg")]
FOREIGN = ("fake_isaacgym", "fake_isaaclab", "fake_starcraft.py")  # named and written as the simulators they stand for
TESTS = [path for path in sorted((ROOT / "tests").rglob("*.py")) if not set(FOREIGN) & set(path.parts)]
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
# Folders and files whose code runs between actions and metrics.
HOT = {"algos", "learning", "networks", "buffers", "sim", "hands", "games", "mamujoco", "particles"}
HOT |= {"acting.py", "faults.py", "episode_stats.py"}
FORBIDDEN = {"item", "cpu", "numpy", "nonzero", "tolist", "masked_select"}
# Construction, and the CPU engine, whose own memory is numpy's and whose rows are chosen on the host.
ALLOWED = {("mujoco_cpu.py", "numpy"), ("mujoco_warp.py", "numpy"), ("warp_model.py", "numpy"), ("base.py", "cpu")}
# A folder (or a module of the root) may import from those named after it, and from itself.
CONTRACT = {"spaces", "env", "settings", "runtime", "devices", "faults", "memory", "acting", "hints", "ranks"}
LAYERS = {
    "spaces": set(),
    "env": {"spaces"},
    "runtime": set(),
    "ranks": set(),
    "devices": {"ranks"},
    "hints": set(),
    "importing": set(),
    "memory": {"env"},
    "outputs": set(),
    "settings": {"env"},
    "faults": {"env"},
    "acting": {"env", "runtime", "faults"},
    "check_env": {"env", "acting"},
    "networks": CONTRACT,
    "buffers": CONTRACT | {"networks"},
    "learning": CONTRACT | {"networks", "buffers"},
    "algos": CONTRACT | {"networks", "buffers", "learning", "rl_games"},
    "sim": {"env", "runtime", "memory", "ranks"},
    "tasks": {"env", "settings", "memory", "sim"},
    "adapters": CONTRACT | {"tasks", "importing"},  # the partition of a hand among agents
    "cfg": set(),
    "registry": {"settings", "algos", "tasks"},
    "plugins": {"importing", "settings", "registry", "learning", "algos", "tasks"},
    "config": {"settings", "registry", "learning", "algos", "tasks"},
    "rl_games": CONTRACT | {"networks", "learning", "registry", "config", "tasks"},
    "training": CONTRACT
    | {
        "networks",
        "buffers",
        "learning",
        "algos",
        "tasks",
        "config",
        "registry",
        "plugins",
        "policies",
        "hints",
        "outputs",
    },
    "policies": set(),
    "export": CONTRACT | {"networks", "training"},
    "rendering": {"env", "outputs"},
    "studies": {"outputs", "training", "hints"},
    "theory": {"env", "settings", "tasks"},
    "cli": CONTRACT
    | {"config", "registry", "plugins", "algos", "tasks", "cfg", "networks", "training"}
    | {"export", "outputs", "rendering", "theory", "studies", "hints"},
    "api": CONTRACT | {"config", "registry", "plugins", "learning", "tasks", "training", "cli"},
}
OLD_NAMES = """
    take_in by_name forget see Sight write_side_by_side arranged judge alike blank_obs behaviours Choices Greedy
    PlainMLP PlainActors JointTable of_agent OwnCritics sees_obs only_if Share descend improved replayed followers
    unless_absent DeterministicLearner SmoothedLearner SoftLearner DuelingLearner MOST KEPT _succeed _here _turns
    Board lose blank crew Died let_go value_of unproven claim surroundings OwnRandom Unsavable ManyAgents OneAgent
    TwoHalves Choosing admit locate calm sights movers discs MujocoTask playback command_line
"""
STEMS = (
    "optim minim maxim normal initial parametr random serial synchron organ recogn summar discret vector quant util "
    "general special visual standard factor penal regular final custom categor priorit character equal parallel"
)
BRITISH = re.compile(
    rf"\w*(?:{'|'.join(STEMS.split())})is(?:e|es|ed|er|ers|ing|ation|ations)(?![a-z])|\w*analys(?:e|ed|es|ing)\b|"
    r"\w*(?:behaviour|colour|neighbour|favour|honour|modell|labell|cancell|travell)\w*|"
    r"\b(?:centres?|centred|grey|artefacts?|catalogues?|licence|whilst|judgement)\b"
)
SAVED_KEYS = dict.fromkeys(("checkpoint.py", "test_old_runs.py"), {"optimiser", "optimisers"})  # of format 2
WEAK_BEGINNING = re.compile(r"(What|Where|How|Who|Of|As|That)\b")


@functools.lru_cache(maxsize=None)
def tree(path):
    return ast.parse(path.read_text(), str(path), feature_version=(3, 8))


def nodes(path, *kinds):
    return [node for node in ast.walk(tree(path)) if isinstance(node, kinds)]


def functions(path):
    return nodes(path, ast.FunctionDef, ast.AsyncFunctionDef)


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


def public(body):
    """Functions and methods of a module or class that others call, and those of its public classes."""
    for node in body:
        if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            yield from public(node.body)


@pytest.mark.parametrize("path", CODE, ids=name)
def test_modules_classes_and_public_functions_say_what_they_are(path):
    module = tree(path)
    if not path.read_text().strip():
        return
    assert ast.get_docstring(module)
    classes = [node for node in module.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")]
    assert [node.name for node in [*classes, *public(module.body)] if not ast.get_docstring(node)] == []


@pytest.mark.parametrize("path", CODE, ids=name)
def test_docstrings_begin_with_a_thing_or_an_act(path):
    documented = nodes(path, ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    texts = [ast.get_docstring(node) or "" for node in documented]
    assert [text.split("\n")[0] for text in texts if WEAK_BEGINNING.match(text)] == []


@pytest.mark.parametrize("path", [path for path in LIBRARY if HOT & set(path.relative_to(ROOT).parts)], ids=name)
def test_the_hot_path_asks_nothing_of_the_host(path):
    calls = [node.func for node in nodes(path, ast.Call) if isinstance(node.func, ast.Attribute)]
    found = {call.attr for call in calls if call.attr in FORBIDDEN}
    assert {call for call in found if (path.name, call) not in ALLOWED} == set()


def layer(path):
    relative = path.relative_to(ROOT)
    if relative.parts[0] != "harl_isaac":
        return relative.parts[0]
    return relative.parts[1] if len(relative.parts) > 2 else relative.stem


def imported(path):
    """Modules that a file imports anywhere in it, for types alone too; of `from package import x` also package.x."""
    found = set()
    for node in nodes(path, ast.Import, ast.ImportFrom):
        if isinstance(node, ast.ImportFrom):
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
        else:
            found.update(alias.name for alias in node.names)
    return found


def test_every_folder_has_a_layer():
    assert {layer(path) for path in LIBRARY} - {"__init__", "__main__"} == set(LAYERS)


@pytest.mark.parametrize("path", [path for path in LIBRARY if layer(path) in LAYERS], ids=name)
def test_imports_point_one_way(path):
    parts = [module.split(".") for module in imported(path)]
    assert not [words[0] for words in parts if words[0] in ("benchmarks", "scripts", "tests", "tasks", "cfg")]
    own = {words[1] for words in parts if words[0] == "harl_isaac" and len(words) > 1}
    here = layer(path)
    assert own - LAYERS[here] - {here, "__version__"} == set()


def test_settings_are_read_without_torch():
    """Worker processes do."""
    program = (
        "import sys, harl_isaac.settings; sys.exit('torch' in sys.modules or 'harl_isaac.learning' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], cwd=str(ROOT)).returncode == 0


def module_of(path):
    relative = path.relative_to(ROOT).with_suffix("")
    words = [word for word in relative.parts if word != "__init__"]
    return ".".join(words if words[0] in ("harl_isaac", "benchmarks") else ["harl_isaac", *words])


def test_no_module_imports_itself_through_others():
    paths = {module_of(path): path for path in CODE if name(path).partition("/")[0] in (*FOLDERS[:3], "benchmarks")}
    graph = {module: imported(path) & set(paths) - {module} for module, path in paths.items()}
    size = None
    while size != len(graph):  # what imports nothing, or is imported by nothing, lies in no circle
        size = len(graph)
        used = {module for targets in graph.values() for module in targets}
        kept = {module for module, targets in graph.items() if targets and module in used}
        graph = {module: graph[module] & kept for module in kept}
    assert graph == {}


def test_settings_are_never_assigned_after_they_are_made():
    found = [
        (name(path), node.lineno)
        for path in LIBRARY
        for node in nodes(path, ast.Assign, ast.AugAssign, ast.AnnAssign)
        for target in getattr(node, "targets", [getattr(node, "target", None)])
        if isinstance(target, ast.Attribute) and isinstance(target.value, ast.Name) and target.value.id == "cfg"
    ]
    assert found == []


def is_packed(node):
    """Several assignments or calls in one statement; a swap is one thought."""
    if isinstance(node, ast.Expr):
        return isinstance(node.value, ast.Tuple)
    sides = [*node.targets, node.value]
    if not all(isinstance(side, ast.Tuple) for side in sides):
        return False
    left, right = ({ast.unparse(each) for each in side.elts} for side in (sides[0], sides[-1]))
    return left != right


@pytest.mark.parametrize("path", CODE + TESTS, ids=name)
def test_a_line_holds_one_assignment(path):
    if sys.version_info < (3, 9):
        pytest.skip("ast.unparse is of Python 3.9")
    packed = [node.lineno for node in nodes(path, ast.Assign, ast.Expr) if is_packed(node)]
    assert packed == []


@pytest.mark.parametrize("path", CODE + TESTS, ids=name)
def test_types_are_annotations_not_comments(path):
    tokens = tokenize.generate_tokens(io.StringIO(path.read_text()).readline)
    comments = [token.string for token in tokens if token.type == tokenize.COMMENT]
    assert [text for text in comments if re.match(r"#\s*type:(?!\s*ignore\[[\w-]+\])", text)] == []


def identifiers(path):
    for node in ast.walk(tree(path)):
        for field in ("id", "attr", "arg", "name", "asname"):
            value = getattr(node, field, None)
            if isinstance(value, str):
                yield value


@pytest.mark.parametrize("path", CODE + TESTS, ids=name)
def test_things_have_the_field_s_names(path):
    assert set(identifiers(path)) & set(OLD_NAMES.split()) == set()


@pytest.mark.parametrize("path", CODE + TESTS + PAGES, ids=name)
def test_spelling_is_torch_s(path):
    if path == Path(__file__).resolve():
        return
    found = set(BRITISH.findall(path.read_text(encoding="utf-8")))
    assert found - SAVED_KEYS.get(path.name, set()) == set()


def test_the_core_needs_neither_mujoco_nor_a_second_to_spare():
    """Imports with only torch, hydra and numpy, as on Isaac Gym's Python 3.8."""
    hidden = (
        "import sys\nfor name in ('mujoco', 'mujoco_warp', 'warp', 'gymnasium', 'rich', 'tensorboard'):\n"
        "    sys.modules[name] = None\n"
    )
    core = (
        "from harl_isaac.config import register\nregister()\nimport harl_isaac.training.trainer\n"
        "import harl_isaac.check_env, harl_isaac.training.evaluation, harl_isaac.cli.entry\n"
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
