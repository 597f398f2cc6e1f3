"""Pictures of particle worlds: where discs and words are drawn, and the script that draws a run."""

import numpy as np
import pytest
import torch
from support.commands import TINY, run

from harl_isaac.registry import import_object
from harl_isaac.rendering.film import HEIGHT, WIDTH
from harl_isaac.rendering.particle_frames import LEAST_EXTENT, pictures
from harl_isaac.tasks import TASKS

imageio = pytest.importorskip("imageio.v3", reason="imageio is not installed")
CPU = torch.device("cpu")
RED = (1.0, 0.0, 0.0)
GREEN = (0.0, 1.0, 0.0)
SILENCE = np.zeros((1, 0, 0))


def pixel(picture, x, y, extent=LEAST_EXTENT):
    scale = HEIGHT / 2 / extent
    return picture[int(HEIGHT / 2 - y * scale), int(WIDTH / 2 + x * scale)].tolist()


def draw(centers, colors, words=SILENCE, disc_radii=None):
    centers = np.array([centers], dtype=float)
    colors = np.array([colors], dtype=float)
    return next(iter(pictures(centers, colors, words, disc_radii or [0.1] * centers.shape[1])))


def test_discs_are_drawn_where_they_are_and_later_ones_on_top():
    picture = draw([(0.5, 0.4), (0.55, 0.4)], [RED, GREEN], disc_radii=[0.2, 0.05])
    assert picture.shape == (HEIGHT, WIDTH, 3) and picture.dtype == np.uint8
    assert pixel(picture, 0.55, 0.4) == [0, 255, 0] and pixel(picture, 0.4, 0.4) == [255, 0, 0]
    assert pixel(picture, 0.5, 0.65) == pixel(picture, -0.5, -0.4) == [255, 255, 255]
    area = (picture.max(-1) != picture.min(-1)).sum() / (HEIGHT / 2 / LEAST_EXTENT) ** 2  # of what has a color
    assert area == pytest.approx(np.pi * 0.2**2, rel=0.05)


def test_far_discs_are_visible_as_well():
    picture = draw([(0.0, 0.0), (4.0, -2.0)], [RED, GREEN])
    assert pixel(picture, 4.0, -2.0, extent=4.1 * HEIGHT / WIDTH) == [0, 255, 0]


def test_a_line_is_a_meter_long():
    picture = draw([(0.0, 0.0)], [RED], disc_radii=[0.01])
    row = picture[HEIGHT - 14, :, 0]
    assert (row < 128).sum() == pytest.approx(HEIGHT / 2 / LEAST_EXTENT, abs=2)


def test_words_are_darker_the_louder():
    picture = draw([(0.0, 0.0)], [RED], words=np.array([[[0.0, 0.5, 1.0]]]))
    gray = [int(picture[HEIGHT - 11, 4 + 18 * column + 7, 0]) for column in range(3)]
    assert gray[0] == 255 > gray[1] > gray[2]


@pytest.mark.parametrize("name", sorted(name for name in TASKS if name.startswith("mpe/")))
def test_a_task_tells_its_shapes(name):
    task = import_object(TASKS[name])().make(32, CPU, "auto")
    task.reset(0)
    centers, colors, words = task.render_shapes()
    count = task.landmarks + len(task.names)
    assert centers.shape == (32, count, 2) and colors.shape == (32, count, 3) and len(task.shape_radii()) == count
    assert words.shape == (32, len(task.speakers), task.words)
    for row in range(32):
        for goal in range(task.goals):
            mark = (task.landmark[row] == task.goal[row, goal]).all(1).tolist().index(True)
            agent = task.landmarks + 1 - goal  # that knows of it
            assert colors[row, agent].argmax() == colors[row, mark].argmax()


def test_playing_a_run_draws_it(tmp_path):
    words = [word for word in TINY if "rollout_length" not in word]
    result = run("task=mpe/simple_speaker_listener", *words, "algo.rollout_length=6", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    folder = next(tmp_path.glob("runs/mpe/simple_speaker_listener/happo/*"))
    for out, words in (("strip.png", []), ("two.mp4", ["episodes=2"])):
        result = run(f"run={folder}", "out=" + out, *words, cwd=tmp_path, script="scripts/play.py")
        assert result.returncode == 0 and (tmp_path / out).stat().st_size > 3000, result.stderr
    assert "2 episodes, 0 of them with success, 50 pictures" in result.stdout
    strip = imageio.imread(tmp_path / "strip.png")
    assert strip.shape == (4 * (HEIGHT // 2 + 4) - 4, 6 * (WIDTH // 2 + 4) - 4, 3)  # a row for each episode
    result = run(f"run={folder}", "out=film.gif", cwd=tmp_path, script="scripts/play.py")
    assert result.returncode == 2 and "ends in .mp4 or .png" in result.stderr
