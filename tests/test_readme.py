"""Commands of the README and of the pages run, with tiny sizes."""

import ast
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from support.commands import ROOT, run_command
from support.small_runs import OFF_POLICY

README = (ROOT / "README.md").read_text()
TINY = [
    "num_envs=4",
    "algo.rollout_length=3",
    "algo.hidden=[8]",
    "total_steps=12",
    "device=cpu",
    "eval.episodes=2",
    "eval.interval=1",
]
TINY_REPLAY = [word for word in TINY if "rollout_length" not in word] + [
    "algo.train_interval=2",
    "algo.warmup_steps=8",
    "algo.batch_size=4",
    "algo.buffer_size=100",
]
EXAMPLE_RUN = "runs/ShadowHandOver/happo/20260101-120000-seed1"
PAGES = ["README.md", "docs/running.md", "docs/tasks/all.md", "docs/algorithms.md", "docs/simulators.md"]
BLOCKS = re.findall(r"```bash\n(.*?)```", README, re.S)
FIRST, SECOND = BLOCKS
NOT_HERE = re.compile(r"pip install|^scripts/|task=(sma|football|isaac)|experiment=(smac|football|smax)|^#|^$")


def commands(page):
    """The page's `python ...` and `harl-train ...` commands, without those of simulators that are not here."""
    blocks = re.findall(r"```bash\n(.*?)```", (ROOT / page).read_text(), re.S)
    lines = [line.split("  #")[0].strip() for block in blocks for line in block.strip().splitlines()]
    return [line for line in lines if not NOT_HERE.search(line) and line.startswith(("python ", "harl-train "))]


COMMANDS = [command for page in PAGES for command in commands(page) if command not in SECOND]


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    cwd = tmp_path_factory.mktemp("readme")
    execute("train.py", ["task=ShadowHandOver", *TINY], cwd)
    return next(cwd.glob("runs/ShadowHandOver/happo/*"))


def execute(script, words, cwd):
    result = run_command(script, *words, cwd=cwd, DISPLAY="", WAYLAND_DISPLAY="")
    if "rendering failed" in result.stderr:
        pytest.skip("no OpenGL here: " + result.stderr.strip())
    if "needs MuJoCo" in result.stderr:
        pytest.skip(result.stderr.strip())
    assert result.returncode == 0, result.stderr


def test_the_first_block_is_the_two_commands():
    lines = FIRST.strip().splitlines()
    assert lines == ["scripts/train.sh task=ShadowHandOver algo=happo num_envs=256", "scripts/test.sh"]
    assert all(os.access(ROOT / line.split()[0], os.X_OK) for line in lines)


def test_the_second_block_runs_as_it_stands_in_the_same_shell(run_folder):
    """Beside a run, in the environment that these tests run in."""
    scripts = Path(sys.executable).parent
    if not (scripts / "harl-play").exists() or not (scripts / "activate").exists():
        pytest.skip("the commands are not installed beside this interpreter")
    assert SECOND.startswith("source .venv/bin/activate\n")
    words = "set -e\n" + SECOND.replace(".venv/bin/activate", str(scripts / "activate"))
    cwd = run_folder.parents[3]
    result = subprocess.run(["bash", "-c", words], cwd=str(cwd), capture_output=True, text=True)
    if "rendering failed" in result.stderr:
        pytest.skip("no OpenGL here: " + result.stderr.strip())
    assert result.returncode == 0, result.stderr
    assert "64 episodes" in result.stdout and (cwd / "strip.png").is_file() and "ShadowHandPen" in result.stdout


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_runs(command, run_folder, tmp_path):
    words = shlex.split(command.replace(EXAMPLE_RUN, str(run_folder)))
    script = words[1] if words[0] == "python" else "train.py"  # which harl-train is too
    given = words[2:] if words[0] == "python" else words[1:]
    if script == "train.py" and EXAMPLE_RUN not in command:  # a run that is resumed is tiny already
        tiny = TINY_REPLAY if any(re.search(f"(=|/){name}$", word) for name in OFF_POLICY for word in given) else TINY
        named = {word.split("=")[0] for word in tiny}
        given = [word for word in given if word.split("=")[0] not in named] + tiny
    if "scripts/benchmark.py" in command:
        given += ["num_envs=4", "repeats=1"]
    if "scripts/play.py" in command:
        given += ["episodes=1"]
    execute(script, given, tmp_path)


def test_every_task_and_algorithm_is_named():
    from harl_isaac.algos import ALGOS
    from harl_isaac.tasks import TASKS

    for page, names in (("docs/tasks/all.md", TASKS), ("docs/algorithms.md", ALGOS)):
        text = (ROOT / page).read_text()
        assert [name for name in names if f"`{name}`" not in text] == []


def test_every_link_leads_somewhere():
    links = [link.split("#")[0] for link in re.findall(r"\]\(([^)]+)\)", README) if not link.startswith("http")]
    assert [link for link in links if not (ROOT / link).exists()] == []


def definitions(path):
    """Names that a module defines, and Class.method."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        name = getattr(node, "name", "")
        found.add(name)
        found.update(f"{name}.{getattr(each, 'name', '')}" for each in getattr(node, "body", []))
    return found


def test_the_code_tour_names_what_is_there():
    text = (ROOT / "CONTRIBUTING.md").read_text()
    places = re.findall(r"`((?:harl_isaac|tasks|cfg|tests)/[\w/.]+?)(?::([\w.]+))?`", text)
    assert len(places) > 60
    missing = [path for path, name in places if not (ROOT / path).exists()]
    assert missing == []
    wrong = [f"{path}:{name}" for path, name in places if name and name not in definitions(ROOT / path)]
    assert wrong == []


@pytest.mark.parametrize(
    "page", sorted(ROOT.glob("docs/**/*.md")) + [ROOT / "CONTRIBUTING.md"], ids=lambda page: page.name
)
def test_every_link_of_a_page_leads_somewhere(page):
    links = re.findall(r"\]\((?!https?:)([^)#]+)[^)]*\)", page.read_text())
    made = {ROOT / "docs" / "settings.md"}  # when the site is built
    assert [link for link in links if not ((page.parent / link).exists() or page.parent / link in made)] == []


def test_the_readme_leads_those_without_a_gpu_to_the_smaller_build():
    """By pytorch.org's own instructions: a registry's address would be out of date one day."""
    text = " ".join((ROOT / "README.md").read_text().split())
    assert re.search(r"without one, \[PyTorch's own instructions\]\(https://pytorch.org/\S+\) give .* CPU build", text)
