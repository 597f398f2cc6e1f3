"""Tasks and algorithms from outside: by entry point, by module, by file; broken ones are one line."""

import os
import shutil
import sys
from pathlib import Path

import pytest
from support.commands import ROOT, run

from harl_isaac import plugins
from harl_isaac.algos import ALGOS
from harl_isaac.cli.modules import module_list, modules_word, with_loaded_modules
from harl_isaac.registry import default_settings
from harl_isaac.tasks import TASKS

PACKAGE = ROOT / "tests" / "support" / "own_package"
ENTRY_POINTS = """[harl_isaac.tasks]
Tandem = harl_tandem.task:TandemCfg

[harl_isaac.algos]
leash = harl_tandem.algo:LeashCfg
"""
BROKEN_POINTS = """[harl_isaac.tasks]
Absent = harl_nowhere.task:AbsentCfg
SumGame = harl_tandem.task:TandemCfg
Crooked = harl_tandem

[harl_isaac.algos]
wrong = harl_tandem.task:TandemCfg
"""
TINY = ["num_envs=4", "algo.rollout_length=5", "algo.hidden=[8]", "device=cpu", "log.console=none", "eval.interval=0"]


def install(site, name, points):
    """Put a distribution's metadata on the path, as pip does."""
    info = site / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(points)


@pytest.fixture
def site(tmp_path):
    """A folder with the package installed."""
    folder = tmp_path / "site"
    shutil.copytree(PACKAGE, folder)
    install(folder, "harl-tandem", ENTRY_POINTS)
    return folder


@pytest.fixture
def registries():
    """Registries, module path and modules that are as before after the test."""
    dicts = (TASKS, ALGOS, plugins.DISTRIBUTIONS, plugins.BROKEN, plugins.LOADED)
    before = [dict(each) for each in dicts]
    path = list(sys.path)
    modules = set(sys.modules)
    seen = list(plugins.SEEN)
    plugins.SEEN.clear()
    yield
    for each, saved in zip(dicts, before):
        for name in set(each) - set(saved):
            del each[name]
        each.update(saved)
    for name in set(sys.modules) - modules:
        if name.split(".")[0] in ("harl_tandem", "task", "mine", "twin", "faulty"):
            del sys.modules[name]
    plugins.SEEN[:] = seen
    sys.path[:] = path


def command(script, *words, cwd, site):
    """A command with the folder `site` on the module path; it finds installed packages there by importlib.metadata."""
    entry = Path(script).stem
    driver = cwd / f"{entry}_with_{site.name}.py"
    driver.write_text(
        f"import sys\nsys.path[:0] = [{str(site)!r}, {str(ROOT)!r}]\n"
        f"from harl_isaac.cli.entry import {entry}\n{entry}()\n"
    )
    return run(*words, cwd=cwd, script=str(driver))


def test_an_installed_package_is_found_by_all_commands(site, tmp_path):
    install(site, "harl-broken", BROKEN_POINTS)
    words = ["task=Tandem", "algo=leash", "algo.leash=0.2", "task.target=0.3", *TINY]
    result = command("train.py", *words, "total_steps=40", cwd=tmp_path, site=site)
    assert result.returncode == 0, result.stderr
    lines = result.stderr.strip().split("\n")
    assert len(lines) == 4 and all(line.startswith("harl-train: ") for line in lines), result.stderr
    assert "task Absent of harl-broken 1.0 cannot be used (ModuleNotFoundError" in result.stderr
    assert "task SumGame of harl-broken 1.0 is left out: harl_isaac has task SumGame already" in result.stderr
    assert "is no class derived from AlgoCfg" in result.stderr and "is no name = module:Class" in result.stderr
    (folder,) = tmp_path.glob("runs/Tandem/leash/*")
    assert '"task Tandem": "harl-tandem 1.0"' in (folder / "versions.json").read_text()
    assert command("train.py", f"resume={folder}", "total_steps=60", cwd=tmp_path, site=site).returncode == 0
    words = [f"run={folder}", "episodes=2", "num_envs=2"]
    result = command("scripts/evaluate.py", *words, cwd=tmp_path, site=site)
    assert result.returncode == 0 and result.stderr == "", result.stderr
    result = command("scripts/evaluate.py", *words, cwd=tmp_path, site=tmp_path)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "'Tandem', which is unknown here: install harl-tandem 1.0" in result.stderr
    result = command("train.py", "task=Absent", cwd=tmp_path, site=site)
    assert result.returncode == 2 and result.stderr.count("\n") == 1
    assert "task Absent of harl-broken 1.0 cannot be used (ModuleNotFoundError" in result.stderr
    listed = command("scripts/list_tasks.py", cwd=tmp_path, site=site).stdout
    assert "Tandem" in listed and "leash (harl_tandem.algo)" in listed and "cannot be used" in listed


def test_a_file_is_named_and_its_run_needs_consent(tmp_path):
    shutil.copy(PACKAGE / "harl_tandem" / "task.py", tmp_path / "mine.py")
    result = run("task=./mine.py:TandemCfg", *TINY, "total_steps=20", cwd=tmp_path, script="train.py")
    assert result.returncode == 0 and result.stderr == "", result.stderr
    (folder,) = tmp_path.glob("runs/Tandem/happo/*")
    assert f"- {tmp_path / 'mine.py'}" in (folder / "config.yaml").read_text()
    with (tmp_path / "mine.py").open("a") as file:
        file.write("\nopen('pwned', 'w').close()\n")
    for script, word in (("train.py", "resume"), ("scripts/evaluate.py", "run"), ("scripts/play.py", "run")):
        result = run(f"{word}={folder}", cwd=tmp_path, script=script)
        assert result.returncode == 2 and result.stderr.count("\n") == 1, result.stderr
        assert f"modules=[{tmp_path / 'mine.py'}]" in result.stderr and not (tmp_path / "pwned").exists()
    for word in ("modules=[./mine.py]", "trust=true", "task=mine:TandemCfg"):
        result = run(f"resume={folder}", "total_steps=40", word, cwd=tmp_path, script="train.py")
        assert result.returncode == 0, result.stderr
    words = [f"run={folder}", "episodes=2", "num_envs=2"]
    assert run(*words, "modules=mine", cwd=tmp_path, script="scripts/evaluate.py").returncode == 0
    assert "pwned" in os.listdir(tmp_path)


def test_all_ways_to_name_a_module(site, registries, monkeypatch):
    shutil.rmtree(site / "harl_tandem-1.0.dist-info")
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(site / "harl_tandem")
    words = with_loaded_modules(["task=./task.py:TandemCfg,MatrixGame", "modules=[harl_tandem.algo]", "seed=1"])
    assert words == ["task=Tandem,MatrixGame", "seed=1", f"modules=['{site}/harl_tandem/task.py','harl_tandem.algo']"]
    assert default_settings(TASKS, "Tandem").target == 0.5
    assert default_settings(ALGOS, "Leash").leash == 0.1
    assert module_list("[a, './b c.py']") == ["a", "./b c.py"] and module_list("null") == []
    assert modules_word(["a", "a"]) == "modules=['a']"
    assert with_loaded_modules(["task=isaaclab/pkg:Name"]) == ["task=isaaclab/pkg:Name"]


FAULTS = {
    "modules=[harl_nowhere]": (None, "there is no module harl_nowhere on the path or in .*; a file is given as"),
    "modules=[./absent.py]": (None, "there is no Python file at .*absent.py"),
    "task=./json.py:X": ("", "json.py has the name of another module .*; rename it"),
    "modules=[faulty]": (
        "import harl_nowhere",
        "module faulty cannot be imported .ModuleNotFoundError: .*harl_nowhere",
    ),
    "modules=[./faulty.py]": ("def f(:", "module ./faulty.py cannot be imported .SyntaxError: "),
    "task=faulty:NoCfg": ("", "task=faulty:NoCfg: the module has no such task; it has: none"),
    "algo=./faulty.py:NoCfg": ("", "the module has no such algorithm; it has: none"),
    "modules=[./faulty.py,mine]": ("x = 1", "brings neither a task nor an algorithm"),
    "task=faulty:ACfg": (
        "from harl_isaac.tasks.games.sum import SumGameCfg\nclass ACfg(SumGameCfg):\n    size: int = 3\n",
        "faulty:ACfg cannot be used .ValueError: faulty:ACfg has fields and no @dataclass above it",
    ),
    "modules=[./faulty.py,./x.py]": (
        "from harl_isaac.tasks.games.sum import SumGameCfg\nclass MineCfg(SumGameCfg):\n    name = 'SumGame'\n",
        "is named SumGame, and so is harl_isaac.tasks.games.sum:SumGameCfg; give it another name",
    ),
    "task=faulty:SumGameCfg": (
        "from harl_isaac.tasks.games.sum import SumGameCfg",
        "is harl_isaac's own; give task=SumGame",
    ),
    "modules=[faulty ]": ("raise SystemExit(3)", "module faulty cannot be imported .SystemExit: 3"),
}


@pytest.mark.parametrize("word", list(FAULTS))
def test_a_fault_is_one_line(word, tmp_path, registries, monkeypatch):
    text, message = FAULTS[word]
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / ("json.py" if "json" in word else "faulty.py")).write_text(text)
    with pytest.raises(ValueError, match=message) as raised:
        with_loaded_modules([word])
    assert "\n" not in str(raised.value)


def test_two_packages_with_one_name_and_a_class_named_by_its_own_name(site, registries, monkeypatch):
    install(site, "harl-twin", "[harl_isaac.tasks]\nTandem = twin:TandemCfg\n")
    (site / "twin.py").write_text((site / "harl_tandem" / "task.py").read_text())
    monkeypatch.syspath_prepend(str(site))
    plugins.load_entry_points()
    assert TASKS["Tandem"] in ("harl_tandem.task:TandemCfg", "twin:TandemCfg")
    assert [line for line in plugins.broken_plugins() if "has task Tandem already" in line]
    plugins.check_plugin("task", "Tandem")
    with pytest.raises(ValueError, match="is named Tandem, and so is"):
        with_loaded_modules(["modules=[twin,harl_tandem.task]"])
