"""Films of episodes: labeled pictures, one after the other as a video, or a row for each episode in one picture."""

from pathlib import Path
from typing import Iterable, Iterator, List, NamedTuple, Sequence

import numpy as np

from harl_isaac.outputs import check_writable

WIDTH = 640
HEIGHT = 480
STRIP_PICTURES = 6  # of an episode in a strip
GAP = 4  # [pixels] between the pictures of a strip
PAUSE = 0.5  # [s] between two episodes of a video
TEXT_HEIGHT = 18  # [pixels]
GROUND = "#e4e4e4"  # around a picture of another shape
MARGIN = 8  # [pixels] of a label from the picture's edge
VIDEO = ".mp4"
STRIP = ".png"


class Label(NamedTuple):
    """Text in a picture, and the episode that it belongs to."""

    episode: int  # 0, 1, ...
    text: str


def labels(lengths: Sequence[int], control_seconds: float, outcomes: Sequence[str]) -> List[Label]:
    """A label for each picture of episodes that follow each other: `lengths` [steps], `outcomes` at their ends.

    Steps are numbered where `control_seconds` is 0: not known.
    """
    found = []
    for episode, (length, outcome) in enumerate(zip(lengths, outcomes)):
        for step in range(length):
            time = f"{step * control_seconds:.2f} s" if control_seconds else f"step {step}"
            text = f"episode {episode + 1} of {len(lengths)}   {time}"
            if step == length - 1 and outcome:
                text += f"   {outcome}"
            found.append(Label(episode, text))
    return found


def needed(texts: Sequence[Label], out: Path) -> List[int]:
    """Indices of the pictures that `out` shows: all in a video, STRIP_PICTURES of each episode in a strip."""
    if out.suffix == VIDEO:
        return list(range(len(texts)))
    chosen = []
    for episode in sorted({label.episode for label in texts}):
        own = [index for index, label in enumerate(texts) if label.episode == episode]
        count = min(STRIP_PICTURES, len(own))
        chosen += [own[place] for place in np.linspace(0, len(own) - 1, count).round().astype(int)]
    return chosen


def check_out(out: Path) -> None:
    """Raise ValueError for a file that is neither a video nor a picture, or that cannot be written."""
    if out.suffix not in (VIDEO, STRIP):
        raise ValueError(f"out={out}: give a file that ends in {VIDEO} or {STRIP}")
    check_writable(out)


def write(pictures: Iterable[np.ndarray], texts: Sequence[Label], out: Path, fps: float) -> None:
    """Write the `needed` pictures [HEIGHT, WIDTH, 3] uint8 with their labels. Raises ValueError for other files."""
    check_out(out)
    if out.suffix == STRIP:
        write_strip(list(pictures), texts, out)
    else:
        write_video(pictures, texts, out, fps)


def write_strip(pictures: Sequence[np.ndarray], texts: Sequence[Label], out: Path) -> None:
    """Write a picture with a row for each episode, at half size."""
    from PIL import Image

    rows: List[List[np.ndarray]] = []
    for picture, label in zip(pictures, texts):
        if label.episode == len(rows):
            rows.append([])
        rows[-1].append(labeled(picture[::2, ::2], label.text, TEXT_HEIGHT * 2 // 3))
    height, width = pictures[0][::2, ::2].shape[:2]
    longest = max(len(row) for row in rows)
    shape = (len(rows) * (height + GAP) - GAP, longest * (width + GAP) - GAP, 3)
    sheet = np.full(shape, 255, dtype=np.uint8)
    for number, row in enumerate(rows):
        top = number * (height + GAP)
        for column, picture in enumerate(row):
            left = column * (width + GAP)
            sheet[top : top + height, left : left + width] = picture
    Image.fromarray(sheet).save(out)


def write_video(pictures: Iterable[np.ndarray], texts: Sequence[Label], out: Path, fps: float) -> None:
    """Write a video in which episodes are divided by their last picture, faded."""
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(str(out), (WIDTH, HEIGHT), fps=fps, quality=6, ffmpeg_log_level="error")
    writer.send(None)
    try:
        for picture in with_pauses(pictures, texts, fps):
            writer.send(picture)
    except BaseException:
        writer.close()
        out.unlink(missing_ok=True)  # a part of a film is none
        raise
    writer.close()


def with_pauses(pictures: Iterable[np.ndarray], texts: Sequence[Label], fps: float) -> Iterator[np.ndarray]:
    """Labeled pictures, and between two episodes, for a moment, the last one faded."""
    last = None
    episode = 0
    for picture, label in zip(pictures, texts):
        if last is not None and label.episode != episode:
            for _ in range(round(PAUSE * fps)):
                yield faded(last)
        episode = label.episode
        last = labeled(picture, label.text, TEXT_HEIGHT)
        yield last


def fitted(picture: np.ndarray) -> np.ndarray:
    """A picture [H, W, 3] as large as fits in [HEIGHT, WIDTH, 3], in the middle of light gray."""
    from PIL import Image

    height, width = picture.shape[:2]
    scale = min(HEIGHT / height, WIDTH / width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    way = Image.Resampling.NEAREST if scale > 1.0 else Image.Resampling.LANCZOS  # the cells of a grid stay sharp
    sheet = Image.new("RGB", (WIDTH, HEIGHT), GROUND)
    sheet.paste(Image.fromarray(picture).resize(size, way), ((WIDTH - size[0]) // 2, (HEIGHT - size[1]) // 2))
    return np.asarray(sheet)


def labeled(picture: np.ndarray, text: str, height: int) -> np.ndarray:
    """A picture [H, W, 3] with text `height` pixels high in its upper left corner, on a lighter ground."""
    from PIL import Image, ImageDraw, ImageFont

    image = Image.fromarray(np.ascontiguousarray(picture))
    pen = ImageDraw.Draw(image, "RGBA")
    font = ImageFont.load_default(height)
    place = (MARGIN, MARGIN // 2)
    left, top, right, bottom = pen.textbbox(place, text, font=font)
    pen.rectangle((left - GAP, top - GAP, right + GAP, bottom + GAP), fill=(255, 255, 255, 170))
    pen.text(place, text, font=font, fill=(20, 20, 20, 255))
    return np.asarray(image)


def faded(picture: np.ndarray) -> np.ndarray:
    """A picture mixed with white."""
    return (127 + picture // 2).astype(np.uint8)
