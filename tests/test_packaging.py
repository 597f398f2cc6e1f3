"""Every way to get the package holds the same files, and two clones that share one virtual environment never mix."""

import ast
import email
import os
import re
import shutil
import subprocess
import sys
import tarfile
import venv
import zipfile
from pathlib import Path

import pytest
from support.commands import ROOT, run_command

import harl_isaac

LINKS = {"cfg": "../cfg", "tasks": "../tasks"}
SHIPPED = (".py", ".yaml", ".typed", ".policy", ".html")
LEFT_OUT = shutil.ignore_patterns(
    ".git", ".venv", ".*_cache", "__pycache__", "*.egg-info", "build", "dist", "runs", "outputs", "wheels"
)
MARK = "tasks of THIS clone"
GAME = ["task=MatrixGame", "algo=happo", "num_envs=4", "total_steps=40", "device=cpu", "log.console=none"]
SCRIPTS = sorted(path.name for path in (ROOT / "scripts").glob("*.py"))
WITHOUT_TASKS = {"plot.py", "table.py", "report.py", "archive.py"}  # read the records of runs alone
LIST_FILES = (
    "import os, harl_isaac\n"
    "root = os.path.dirname(harl_isaac.__file__)\n"
    "for folder, _, names in os.walk(root, followlinks=True):\n"
    "    for name in names:\n"
    "        print(os.path.relpath(os.path.join(folder, name), os.path.dirname(root)))\n"
)
BUILD = (
    "import sys\nfrom setuptools import build_meta\nprint(getattr(build_meta, 'build_' + sys.argv[1])(sys.argv[2]))\n"
)


def shipped(names):
    """Those of the names that belong to the package."""
    return sorted(name for name in map(str, names) if name.startswith("harl_isaac/") and name.endswith(SHIPPED))


def files_of(root):
    """The package's files below `root`, through the links."""
    found = []
    for folder, _, names in os.walk(root / "harl_isaac", followlinks=True):
        found += [(Path(folder) / name).relative_to(root) for name in names]
    return shipped(found)


def imported_files(python, cwd, **env):
    """The package's files where that interpreter finds it."""
    result = subprocess.run(
        [str(python), "-c", LIST_FILES], cwd=str(cwd), env={**os.environ, **env}, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    return shipped(result.stdout.split())


def copy_tree(folder):
    shutil.copytree(ROOT, folder, symlinks=True, ignore=LEFT_OUT)
    return folder


def build(kind, tree, out):
    """A wheel or an sdist of `tree` in the folder `out`; skipped where no setuptools can build one."""
    if subprocess.run([sys.executable, "-c", "import setuptools"], capture_output=True).returncode:
        pytest.skip("needs setuptools in this environment")
    out.mkdir(exist_ok=True)
    result = subprocess.run(
        [sys.executable, "-c", BUILD, kind, str(out)], cwd=str(tree), capture_output=True, text=True
    )
    if "invalid command 'bdist_wheel'" in result.stderr:
        pytest.skip("needs setuptools 70.1 or newer, or the package wheel")
    assert result.returncode == 0, result.stderr
    return out / result.stdout.strip().split("\n")[-1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    return build("wheel", copy_tree(folder / "tree"), folder / "out")


@pytest.fixture(scope="module")
def broken_clone(tmp_path_factory):
    """A second clone whose tasks stop every process that imports them."""
    clone = copy_tree(tmp_path_factory.mktemp("clones") / "copy2")
    (clone / "tasks" / "__init__.py").write_text(f'raise SystemExit("{MARK}")\n')
    return clone


@pytest.mark.parametrize("name", LINKS)
def test_the_links_are_relative(name):
    assert os.readlink(str(ROOT / "harl_isaac" / name)) == LINKS[name]


def test_a_plain_clone_holds_every_task_and_setting():
    files = files_of(ROOT)
    settings = [str(path.relative_to(ROOT)) for path in (ROOT / "cfg").rglob("*.yaml")]
    tasks = [str(path.relative_to(ROOT)) for path in (ROOT / "tasks").rglob("*.py")]
    assert len(settings) > 100 and len(tasks) > 20
    assert {"harl_isaac/" + name for name in settings + tasks} <= set(files) and "harl_isaac/py.typed" in files


def test_pythonpath_gives_this_clone(tmp_path):
    assert imported_files(sys.executable, tmp_path, PYTHONPATH=str(ROOT)) == files_of(ROOT)


def test_a_wheel_holds_the_same_files(wheel):
    assert shipped(zipfile.ZipFile(wheel).namelist()) == files_of(ROOT)


def test_the_wheel_says_what_it_is(wheel):
    archive = zipfile.ZipFile(wheel)
    names = archive.namelist()
    text = archive.read(next(name for name in names if name.endswith("/METADATA"))).decode()
    metadata = email.message_from_string(text)
    assert metadata["Version"] == harl_isaac.__version__ and metadata["License"] == "Apache-2.0"
    assert "Typing :: Typed" in metadata.get_all("Classifier") and "multi-agent" in metadata["Keywords"]
    assert {"test", "lint", "warp", "all"} <= set(metadata.get_all("Provides-Extra"))
    assert any(name.endswith("LICENSE") and ".dist-info/" in name for name in names)
    assert not [name for name in names if not name.startswith(("harl_isaac/", "harl_isaac-"))]


def test_the_version_is_the_same_everywhere():
    citation = (ROOT / "CITATION.cff").read_text()
    assert re.search(r"^version: (\S+)$", citation, re.M).group(1) == harl_isaac.__version__
    assert f"## {harl_isaac.__version__}" in (ROOT / "CHANGELOG.md").read_text()


def test_a_wheel_from_an_sdist_holds_the_same_files(tmp_path):
    sdist = build("sdist", copy_tree(tmp_path / "tree"), tmp_path / "sdist")
    with tarfile.open(sdist) as archive:
        archive.extractall(tmp_path / "unpacked")
    unpacked = next((tmp_path / "unpacked").iterdir())
    assert {"LICENSE", "CITATION.cff", "CHANGELOG.md", "CONTRIBUTING.md"} <= {path.name for path in unpacked.iterdir()}
    wheel = build("wheel", unpacked, tmp_path / "wheel")
    assert shipped(zipfile.ZipFile(wheel).namelist()) == files_of(ROOT)


def test_a_copy_without_the_links_builds_nothing(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    (tree / "harl_isaac" / "tasks").unlink()
    result = subprocess.run([sys.executable, "setup.py", "--version"], cwd=str(tree), capture_output=True, text=True)
    if "No module named 'setuptools'" in result.stderr:
        pytest.skip("needs setuptools in this environment")
    assert result.returncode and "symbolic links" in result.stderr


def new_environment(folder):
    """Interpreter and site-packages of a virtual environment that also finds what this interpreter has installed."""
    venv.create(str(folder), with_pip=False)
    python = folder / "bin" / "python"
    site = next(folder.glob("lib/python*/site-packages"))
    others = [path for path in sys.path if path.endswith("site-packages")]
    (site / "others.pth").write_text("\n".join(others))
    return python, site


def has_pip(interpreter):
    return interpreter and subprocess.run([interpreter, "-m", "pip", "--version"], capture_output=True).returncode == 0


def pip_install(python, *words):
    """Install with the pip of this interpreter, or of python3, into the environment of `python`, without an index."""
    with_pip = next(filter(has_pip, (sys.executable, shutil.which("python3"))), None)
    if with_pip is None:
        pytest.skip("needs pip")
    options = ["--quiet", "--no-index", "--no-deps", "--no-build-isolation", "--ignore-installed"]
    result = subprocess.run(
        [with_pip, "-m", "pip", "--python", str(python), "install", *options, *words], capture_output=True, text=True
    )
    if re.search("no such option: --python|No module named 'setuptools'|BackendUnavailable", result.stderr):
        pytest.skip(result.stderr.strip().split("\n")[-1])
    assert result.returncode == 0, result.stderr


def test_an_editable_install_holds_the_same_files(tmp_path):
    tree = copy_tree(tmp_path / "tree")
    python, _ = new_environment(tmp_path / "environment")
    pip_install(python, "--editable", str(tree))
    empty = tmp_path / "empty"
    empty.mkdir()
    assert imported_files(python, empty, PYTHONPATH="") == files_of(ROOT)
    (tree / "tasks" / "__init__.py").write_text(f'raise SystemExit("{MARK}")\n')
    result = subprocess.run(
        [str(python), "-c", "import harl_isaac.tasks"], cwd=str(empty), capture_output=True, text=True
    )
    assert result.stderr.strip() == MARK


def test_an_installed_wheel_trains_in_an_empty_folder(wheel, tmp_path):
    python, site = new_environment(tmp_path / "environment")
    pip_install(python, str(wheel))
    assert shipped(path.relative_to(site) for path in site.rglob("*")) == files_of(ROOT)
    empty = tmp_path / "empty"
    empty.mkdir()
    words = ["task=SumGame", "algo=happo", "num_envs=4", "total_steps=200", "device=cpu", "eval.episodes=2"]
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    result = subprocess.run(
        [str(python.with_name("harl-train")), *words], cwd=str(empty), env=environment, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
    assert list(empty.glob("runs/SumGame/happo/*/metrics.csv"))


def test_train_py_of_a_second_clone_never_uses_the_first(broken_clone, tmp_path):
    result = run_command(str(broken_clone / "train.py"), *GAME, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode and result.stderr.strip() == MARK


@pytest.mark.parametrize("script", [name for name in SCRIPTS if name not in WITHOUT_TASKS])
def test_a_script_of_a_second_clone_never_uses_the_first(script, broken_clone, tmp_path):
    result = run_command(str(broken_clone / "scripts" / script), cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode and result.stderr.strip() == MARK


@pytest.mark.parametrize("script", sorted(WITHOUT_TASKS))
def test_a_script_without_tasks_is_of_its_own_clone_too(script, tmp_path):
    clone = copy_tree(tmp_path / "copy2")
    (clone / "harl_isaac" / "training" / "curves.py").write_text(f'raise SystemExit("{MARK}")\n')
    result = run_command(str(clone / "scripts" / script), cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode and result.stderr.strip() == MARK


def test_the_renderer_is_of_its_parent_s_clone(tmp_path):
    clone = copy_tree(tmp_path / "copy2")
    renderer = clone / "harl_isaac" / "rendering" / "mujoco_video.py"
    renderer.write_text(renderer.read_text().replace("    main()\n", f'    raise SystemExit("{MARK}")\n'))
    program = (
        f"import sys; sys.path.insert(0, {str(clone)!r})\nfrom pathlib import Path\n"
        "from harl_isaac.rendering.mujoco_video import render\nrender(Path('recording.npz'), Path('out.png'))\n"
    )
    result = subprocess.run([sys.executable, "-c", program], cwd=str(tmp_path), capture_output=True, text=True)
    assert f"({MARK})" in result.stderr


def test_workers_are_of_their_parent_s_clone(tmp_path):
    pytest.importorskip("mpe2", reason="mpe2 is not installed")
    clone = copy_tree(tmp_path / "copy2")
    (clone / "harl_isaac" / "adapters" / "workers" / "child.py").write_text(f'raise SystemExit("{MARK}")\n')
    words = ["task=pettingzoo", "task.workers=1", *GAME[1:]]
    result = run_command(str(clone / "train.py"), *words, cwd=tmp_path, PYTHONPATH=str(ROOT))
    assert result.returncode and MARK in result.stderr


@pytest.mark.parametrize(
    "words",
    [
        ["train.py", *GAME],
        ["-m", "benchmarks"],
        ["-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/tasks"],
        ["-c", "import harl_isaac.tasks"],
    ],
    ids=["train.py", "benchmarks", "pytest", "PYTHONPATH"],
)
def test_what_runs_in_a_second_clone_never_uses_the_first(words, broken_clone):
    """As a user does it: the first clone's interpreter, the second clone's folder."""
    environment = {**os.environ, "PYTHONPATH": "."}
    result = subprocess.run(
        [sys.executable, *words], cwd=str(broken_clone), env=environment, capture_output=True, text=True
    )
    assert result.returncode and MARK in result.stdout + result.stderr


def test_messages_name_files_that_are_there(tmp_path):
    """Those beside the source where there is one; a wheel has none."""
    (tmp_path / "harl_isaac").mkdir()
    shutil.copy(ROOT / "harl_isaac" / "hints.py", tmp_path / "harl_isaac")
    program = "from harl_isaac.hints import source_file; print(source_file('docs/isaacgym.md'))"
    for root, expected in (
        (ROOT, str(ROOT / "docs/isaacgym.md")),
        (tmp_path, "docs/isaacgym.md in the source repository"),
    ):
        environment = {**os.environ, "PYTHONPATH": str(root)}
        result = subprocess.run(
            [sys.executable, "-c", program], env=environment, cwd=str(tmp_path), capture_output=True
        )
        assert result.stdout.decode().strip() == expected


def test_no_message_names_a_file_that_a_wheel_lacks():
    """They go through hints.source_file, and extras through hints.install; docstrings are for readers of the source."""
    found = []
    for path in sorted((ROOT / "harl_isaac").rglob("*.py")) + sorted((ROOT / "tasks").rglob("*.py")):
        tree = ast.parse(path.read_text())
        named = {id(word) for call in ast.walk(tree) if isinstance(call, ast.Call) for word in ast.walk(call)}
        texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)]
        for node in texts:
            if id(node) in named and re.search(r"(?<!['\"])\b(scripts|docs)/\w|pip install -e \.", node.value):
                found.append((path.name, node.lineno, node.value))
    assert [each for each in found if not re.fullmatch(r"(docs|scripts)/\S+", each[2])] == []
