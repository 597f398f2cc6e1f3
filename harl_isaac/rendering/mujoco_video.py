"""Rendering of recorded states by MuJoCo, as a video or a strip of pictures. Runs as a process of its own,

    python -m harl_isaac.rendering.mujoco_video <recording.npz> <out.mp4 | out.png>

because a rendering context beside a CUDA simulation is not safe on every driver. The recording holds the model, so that
nothing but MuJoCo is needed here.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterable, Iterator, List, Mapping

import numpy as np

if TYPE_CHECKING:
    import mujoco

WIDTH = 640
HEIGHT = 480
STRIP_PICTURES = 6
BACKENDS = ("egl", "osmesa", "glfw")


def render(recording: Path, out: Path) -> None:
    """Render a recording in a second process, with the first OpenGL backend that works.

    Raises ValueError if none does.
    """
    check_suffix(out)
    preferred = os.environ.get("MUJOCO_GL")
    # The module is run by its path: by its name another clone, which is installed here, could be found.
    command = [sys.executable, str(Path(__file__).resolve()), str(recording), str(out)]
    for backend in (preferred,) if preferred else BACKENDS:
        result = subprocess.run(
            command,
            env={**os.environ, "MUJOCO_GL": backend},
            capture_output=True,
            text=True,
        )
        if result.returncode == 0:
            return
    last = (result.stderr.strip().split("\n") or [""])[-1]
    raise ValueError(
        f"rendering failed with MUJOCO_GL={backend} ({last}); on Debian or Ubuntu without a GPU: "
        "apt-get install libegl1 libgl1-mesa-dri"
    )


def check_suffix(out: Path) -> None:
    """Raise ValueError for a file that is neither a video nor a picture."""
    if out.suffix not in (".mp4", ".png"):
        raise ValueError(f"out={out}: give a file that ends in .mp4 or .png")


def save_recording(
    path: Path, model: "mujoco.MjModel", qpos: np.ndarray, mocap_pos: np.ndarray, mocap_quat: np.ndarray, fps: float
) -> None:
    """Write frames qpos [F, nq], mocap_pos [F, n, 3] and mocap_quat [F, n, 4] together with the compiled model."""
    import mujoco

    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "model.mjb"
        mujoco.mj_saveModel(model, str(binary), None)
        content = np.frombuffer(binary.read_bytes(), dtype=np.uint8)
    np.savez_compressed(path, model=content, qpos=qpos, mocap_pos=mocap_pos, mocap_quat=mocap_quat, fps=fps)


def frames(recording: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Render the pictures [HEIGHT, WIDTH, 3] of a loaded recording."""
    import mujoco

    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "model.mjb"
        binary.write_bytes(recording["model"].tobytes())
        model = mujoco.MjModel.from_binary_path(str(binary))
    data = mujoco.MjData(model)
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for qpos, pos, quat in zip(recording["qpos"], recording["mocap_pos"], recording["mocap_quat"]):
            data.qpos[:] = qpos
            data.mocap_pos[:] = pos
            data.mocap_quat[:] = quat
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera=0 if model.ncam else -1)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = 0  # six times slower in software rendering
            yield renderer.render()


def strip(pictures: List[np.ndarray]) -> np.ndarray:
    """At most STRIP_PICTURES pictures from start to end, side by side, at half size."""
    count = min(STRIP_PICTURES, len(pictures))
    gap = np.full((HEIGHT // 2, 4, 3), 255, dtype=np.uint8)
    parts = []
    for i in np.linspace(0, len(pictures) - 1, count).round().astype(int):
        parts += [pictures[i][::2, ::2], gap]
    return np.concatenate(parts[:-1], axis=1)


def write(pictures: Iterable[np.ndarray], out: Path, fps: float) -> None:
    """Write pictures [HEIGHT, WIDTH, 3] as a video or, with .png, a strip. Raises ValueError for other files."""
    check_suffix(out)
    if out.suffix == ".png":
        import imageio.v3

        imageio.v3.imwrite(out, strip(list(pictures)))
        return
    import imageio_ffmpeg

    writer = imageio_ffmpeg.write_frames(str(out), (WIDTH, HEIGHT), fps=fps, quality=6, ffmpeg_log_level="error")
    writer.send(None)
    for picture in pictures:
        writer.send(np.ascontiguousarray(picture))
    writer.close()


def main() -> None:
    """Render the recording named on the command line."""
    recording = np.load(sys.argv[1])
    write(frames(recording), Path(sys.argv[2]), float(recording["fps"]))


if __name__ == "__main__":
    main()
