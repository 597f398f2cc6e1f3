"""The result pages: their tables are what their commands print from docs/results/data, their pictures can be drawn."""

import re
import shutil

import pytest
from support.commands import ROOT, run

RESULTS = "docs/results"
MOST_BYTES = 40_000  # of a run's curves


@pytest.fixture(scope="module")
def redrawn(tmp_path_factory):
    for name in ("matplotlib", "scipy"):
        pytest.importorskip(name, reason=f"{name} is not installed: pip install -e .[plot]")
    root = tmp_path_factory.mktemp("root")
    shutil.copytree(ROOT / RESULTS, root / RESULTS, ignore=shutil.ignore_patterns("*.png"))
    result = run(cwd=root, script=f"{RESULTS}/redraw.py")
    assert result.returncode == 0, result.stderr
    return root


@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / RESULTS).glob("*.md")))
def test_a_page_has_the_tables_that_its_commands_print(page, redrawn):
    assert (redrawn / RESULTS / page).read_text() == (ROOT / RESULTS / page).read_text()


def test_every_picture_of_a_command_is_drawn_and_shown(redrawn):
    text = "\n".join(page.read_text() for page in (ROOT / RESULTS).glob("*.md"))
    named = re.findall(rf" out={RESULTS}/(\S+\.png)", text)
    assert len(named) > 3 and len(set(named)) == len(named)
    for name in named:
        assert (redrawn / RESULTS / name).read_bytes()[:4] == b"\x89PNG" and f"]({name})" in text, name
        assert (ROOT / RESULTS / name).is_file(), name


def test_the_data_are_small_and_name_no_machine(redrawn):
    files = [path for path in (ROOT / RESULTS / "data").rglob("*") if path.is_file()]
    assert all(path.stat().st_size <= MOST_BYTES for path in files)
    studies = [path for path in files if path.name == "study.json"]
    assert studies
    for path in files:
        assert not re.search(r"(^|[\s:=\"'])/(work|home|root|tmp)/", path.read_text()), path


@pytest.mark.parametrize(
    "page, message",
    [
        ("", "no page in docs/results; run this in the repository's root"),
        (
            "    harl-table study=docs/results/data/none\n\n| x |\n",
            "study=docs/results/data/none: it holds no study.json",
        ),
        (
            "    harl-table study=docs/results/data/catch\n\nText\n",
            "no table below harl-table study=docs/results/data/",
        ),
    ],
)
def test_a_mistake_is_one_line(page, message, tmp_path):
    if page:
        shutil.copytree(ROOT / RESULTS / "data" / "catch", tmp_path / RESULTS / "data" / "catch")
        (tmp_path / RESULTS / "page.md").write_text(page)
    result = run(cwd=tmp_path, script=f"{RESULTS}/redraw.py")
    assert result.returncode == 2 and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
