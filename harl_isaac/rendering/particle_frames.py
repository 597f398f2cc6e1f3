"""Pictures of discs in a plane, drawn without OpenGL, for tasks with `render_shapes()` and `shape_radii()`."""

from typing import Iterator, Sequence

import numpy as np

from harl_isaac.rendering.film import HEIGHT, WIDTH

LEAST_EXTENT = 1.2  # [m] from the middle to the upper edge
SQUARE = 14  # [pixels] side of a word's square
SPACING = SQUARE + 4  # [pixels] between the squares' upper left corners
INK = 0.15  # gray of the squares' outline and of the loudest word


def pictures(
    centers: np.ndarray, colors: np.ndarray, words: np.ndarray, disc_radii: Sequence[float]
) -> Iterator[np.ndarray]:
    """Draw F pictures [HEIGHT, WIDTH, 3] uint8 of n discs.

    centers [F, n, 2] and disc_radii [n] in meters; colors [F, n, 3] and words [F, speakers, words] within [0, 1].

    Later discs lie over earlier ones. All frames have the same scale, at which every disc is visible. Words are rows of
    squares on the lower left, one row for each speaker, the darker the louder. The line on the lower right is 1 m long.
    """
    scale = HEIGHT / 2 / visible_extent(centers, disc_radii)  # [pixels/m]
    for frame_centers, frame_colors, frame_words in zip(centers, colors, words):
        picture = np.ones((HEIGHT, WIDTH, 3))
        for center, radius, color in zip(frame_centers, disc_radii, frame_colors):
            x = WIDTH / 2 + center[0] * scale
            y = HEIGHT / 2 - center[1] * scale
            paint_disc(picture, x, y, radius * scale, color)
        for row, loudness in enumerate(frame_words):
            top = HEIGHT - (len(frame_words) - row) * SPACING
            paint_words(picture, top, loudness)
        paint_scale(picture, scale)
        yield (picture * 255.0).round().astype(np.uint8)


def paint_scale(picture: np.ndarray, scale: float) -> None:
    """Paint a line on the lower right that is 1 m long at `scale` [pixels/m], with marks at its ends."""
    right = WIDTH - SQUARE
    left = right - round(scale)
    line = HEIGHT - SQUARE
    picture[line - 1 : line + 1, left:right] = INK
    for mark in (left, right):
        picture[line - SQUARE // 2 : line + SQUARE // 2, mark - 1 : mark + 1] = INK


def visible_extent(centers: np.ndarray, disc_radii: Sequence[float]) -> float:
    """Meters from the middle to the upper edge at which all discs are visible: centers [F, n, 2], disc_radii [n]."""
    reach = np.abs(centers) + np.asarray(disc_radii)[:, None]
    return max(LEAST_EXTENT, float(reach[..., 1].max()), float(reach[..., 0].max()) * HEIGHT / WIDTH)


def paint_disc(picture: np.ndarray, x: float, y: float, radius: float, color: np.ndarray) -> None:
    """Paint a disc with smooth edges and a darker rim; x to the right, y down, in pixels."""
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


def paint_words(picture: np.ndarray, top: int, loudness: np.ndarray) -> None:
    """Paint a row of squares whose upper edge is at pixel `top`, one for each word: loudness [words]."""
    for column, value in enumerate(loudness):
        left = 4 + column * SPACING
        fill = 1.0 - (1.0 - INK) * float(np.clip(value, 0.0, 1.0))
        picture[top : top + SQUARE, left : left + SQUARE] = INK
        picture[top + 1 : top + SQUARE - 1, left + 1 : left + SQUARE - 1] = fill
