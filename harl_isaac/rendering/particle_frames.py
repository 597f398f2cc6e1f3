"""Pictures of discs in a plane, drawn without OpenGL, for tasks that say `discs()` and `radii()`."""

from typing import Iterator, Sequence

import numpy as np

from harl_isaac.rendering.mujoco_video import HEIGHT, WIDTH

LEAST_EXTENT = 1.2  # [m] from the middle to the upper edge
SQUARE = 14  # pixels of a word's square
INK = 0.15  # its outline


def pictures(
    centers: np.ndarray, colors: np.ndarray, words: np.ndarray, radii: Sequence[float]
) -> Iterator[np.ndarray]:
    """[HEIGHT, WIDTH, 3] uint8 of frames: centers [F, n, 2] m, colors [F, n, 3] within [0, 1], words [F, speakers, words].

    Later discs lie over earlier ones. All frames have the same scale, at which every disc is seen. Words are rows of
    squares below on the left, one row for each speaker, the darker the louder.
    """
    reach = np.abs(centers) + np.asarray(radii)[:, None]
    extent = max(LEAST_EXTENT, float(reach[..., 1].max()), float(reach[..., 0].max()) * HEIGHT / WIDTH)
    scale = HEIGHT / 2 / extent  # pixels in a meter
    for center, color, said in zip(centers, colors, words):
        picture = np.ones((HEIGHT, WIDTH, 3))
        for place, radius, tint in zip(center, radii, color):
            x = WIDTH / 2 + place[0] * scale
            y = HEIGHT / 2 - place[1] * scale
            paint_disc(picture, x, y, radius * scale, tint)
        for row, loudness in enumerate(said):
            paint_words(picture, row, len(said), loudness)
        yield (picture * 255.0).round().astype(np.uint8)


def paint_disc(picture: np.ndarray, x: float, y: float, radius: float, color: np.ndarray) -> None:
    """A disc with smooth edges and a darker rim; x to the right, y down, in pixels."""
    left = max(0, int(x - radius) - 1)
    right = min(picture.shape[1], int(x + radius) + 3)
    top = max(0, int(y - radius) - 1)
    bottom = min(picture.shape[0], int(y + radius) + 3)
    across, down = np.meshgrid(np.arange(left, right) + 0.5, np.arange(top, bottom) + 0.5)
    inside = radius - np.hypot(across - x, down - y)
    color = np.clip(color, 0.0, 1.0)
    for depth, shade in ((0.0, 0.6 * color), (2.0, color)):
        cover = np.clip(inside - depth + 0.5, 0.0, 1.0)[..., None]
        patch = picture[top:bottom, left:right]
        patch[:] = patch * (1.0 - cover) + shade * cover


def paint_words(picture: np.ndarray, row: int, rows: int, loudness: np.ndarray) -> None:
    """A row of squares above the lower edge."""
    top = HEIGHT - (rows - row) * (SQUARE + 4)
    for place, value in enumerate(loudness):
        left = 4 + place * (SQUARE + 4)
        picture[top : top + SQUARE, left : left + SQUARE] = INK
        picture[top + 1 : top + SQUARE - 1, left + 1 : left + SQUARE - 1] = 1.0 - (1.0 - INK) * float(
            np.clip(value, 0.0, 1.0)
        )
