"""Rendering of recorded states by MuJoCo. Runs as a process of its own,

    python -m harl_isaac.rendering.mujoco_video <recording.npz> <out.mp4 | out.png>

because a rendering context beside a CUDA simulation is not safe on every driver. The recording holds the model, so that
nothing but MuJoCo is needed here.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Iterator, Mapping, Sequence

import numpy as np

from harl_isaac.rendering.film import HEIGHT, WIDTH, Label, check_out, write

if TYPE_CHECKING:
    import mujoco

PACKAGE = Path(__file__).resolve().parents[2]  # the folder that holds this very harl_isaac
STATES = ("qpos", "mocap_pos", "mocap_quat")
BACKENDS = ("egl", "osmesa", "glfw")


def render(recording: Path, out: Path) -> None:
    """Render a recording in a second process, with the first OpenGL backend that works.

    Raises ValueError if none does.
    """
    check_out(out)
    preferred = os.environ.get("MUJOCO_GL")
    command = [sys.executable, "-m", __name__, str(recording), str(out)]
    # This package comes first: another clone could be the one that is installed.
    paths = os.pathsep.join([str(PACKAGE), *filter(None, [os.environ.get("PYTHONPATH")])])
    for backend in (preferred,) if preferred else BACKENDS:
        result = subprocess.run(
            command,
            env={**os.environ, "MUJOCO_GL": backend, "PYTHONPATH": paths},
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


def save_recording(
    path: Path, model: "mujoco.MjModel", states: Sequence[np.ndarray], texts: Sequence[Label], fps: float
) -> None:
    """Write frames of `states` (qpos [F, nq], mocap_pos [F, n, 3], mocap_quat [F, n, 4]) and the compiled model."""
    import mujoco

    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "model.mjb"
        mujoco.mj_saveModel(model, str(binary), None)
        content = np.frombuffer(binary.read_bytes(), dtype=np.uint8)
    arrays = dict(zip(STATES, states))
    arrays["model"] = content
    arrays["episodes"] = np.array([label.episode for label in texts])
    arrays["texts"] = np.array([label.text for label in texts])
    arrays["fps"] = np.array(fps)
    np.savez_compressed(path, allow_pickle=False, **arrays)


def frames(recording: Mapping[str, Any]) -> Iterator[np.ndarray]:
    """Render the pictures [HEIGHT, WIDTH, 3] of a loaded recording."""
    import mujoco

    with tempfile.TemporaryDirectory() as folder:
        binary = Path(folder) / "model.mjb"
        binary.write_bytes(recording["model"].tobytes())
        model = mujoco.MjModel.from_binary_path(str(binary))
    data = mujoco.MjData(model)
    with mujoco.Renderer(model, HEIGHT, WIDTH) as renderer:
        for qpos, pos, quat in zip(*(recording[name] for name in STATES)):
            data.qpos[:] = qpos
            data.mocap_pos[:] = pos
            data.mocap_quat[:] = quat
            mujoco.mj_forward(model, data)
            renderer.update_scene(data, camera=0 if model.ncam else -1)
            for flag in (mujoco.mjtRndFlag.mjRND_SHADOW, mujoco.mjtRndFlag.mjRND_REFLECTION):
                renderer.scene.flags[flag] = 0  # six times slower in software rendering
            yield renderer.render()


def main() -> None:
    """Render the recording named on the command line."""
    recording = np.load(sys.argv[1])
    texts = [Label(int(episode), str(text)) for episode, text in zip(recording["episodes"], recording["texts"])]
    write(frames(recording), texts, Path(sys.argv[2]), float(recording["fps"]))


if __name__ == "__main__":
    main()
