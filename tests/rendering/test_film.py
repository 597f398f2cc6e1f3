"""Films: which pictures are needed, what is written into them, how episodes are divided."""

import os

import numpy as np
import pytest

from harl_isaac.rendering import film
from harl_isaac.rendering.film import HEIGHT, PAUSE, WIDTH, check_out, labels, needed, write

imageio = pytest.importorskip("imageio.v3", reason="imageio is not installed")


def gray(level):
    return np.full((HEIGHT, WIDTH, 3), level, dtype=np.uint8)


def test_a_label_says_episode_time_and_outcome():
    texts = labels([2, 3], 0.05, ["success", ""])
    assert [label.episode for label in texts] == [0, 0, 1, 1, 1]
    assert texts[0].text == "episode 1 of 2   0.00 s"
    assert texts[1].text == "episode 1 of 2   0.05 s   success"
    assert texts[4].text == "episode 2 of 2   0.10 s"


def test_a_strip_needs_six_pictures_of_an_episode(tmp_path):
    texts = labels([1000, 3], 0.01, ["", ""])
    chosen = needed(texts, tmp_path / "strip.png")
    assert chosen == [0, 200, 400, 599, 799, 999, 1000, 1001, 1002]
    assert needed(texts, tmp_path / "film.mp4") == list(range(1003))


def test_a_strip_has_a_row_for_each_episode(tmp_path):
    texts = labels([2, 1], 0.01, ["", ""])
    write([gray(50), gray(100), gray(150)], texts, tmp_path / "strip.png", 30.0)
    strip = imageio.imread(tmp_path / "strip.png")
    height = HEIGHT // 2
    width = WIDTH // 2
    assert strip.shape == (2 * height + film.GAP, 2 * width + film.GAP, 3)
    corners = strip[[height - 1, height - 1, -1, -1], [width - 1, -1, width - 1, -1], 0]
    assert corners.tolist() == [50, 100, 150, 255]  # nothing beside the shorter episode
    assert strip[:30, : width // 2, 0].max() > 150  # the label's ground


def test_a_video_pauses_between_episodes(tmp_path):
    texts = labels([5, 5], 0.01, ["", ""])
    write([gray(40)] * 5 + [gray(200)] * 5, texts, tmp_path / "film.mp4", 20.0)
    shown = [int(frame[-1, -1, 0]) for frame in imageio.imiter(tmp_path / "film.mp4", plugin="FFMPEG")]
    assert len(shown) == 10 + round(PAUSE * 20)
    expected = [40] * 5 + [147] * 10 + [200] * 5
    assert np.abs(np.array(shown) - expected).max() < 12


def test_files_that_cannot_be_written_are_named(tmp_path):
    with pytest.raises(ValueError, match=r"out=.*film.gif: give a file that ends in .mp4 or .png"):
        check_out(tmp_path / "film.gif")
    with pytest.raises(ValueError, match=r"out=.*there is no folder .*nowhere"):
        check_out(tmp_path / "nowhere" / "film.mp4")
    (tmp_path / "folder.mp4").mkdir()
    with pytest.raises(ValueError, match="cannot be written"):
        check_out(tmp_path / "folder.mp4")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_of_somebody_else_is_named(tmp_path):
    tmp_path.chmod(0o500)
    with pytest.raises(ValueError, match="cannot be written"):
        check_out(tmp_path / "film.mp4")
