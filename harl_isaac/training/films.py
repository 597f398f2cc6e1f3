"""Videos of a policy in training: `harl-play` in a process of its own plays a checkpoint that is made for it."""

import json
import os
import subprocess
import sys
from pathlib import Path

FOLDER = "videos"
FILMED = "filmed"  # the checkpoint that a video is made of
SECONDS = 600  # that a video may take
START = (
    "import json, sys; path, *words = sys.argv[1:]; sys.path[:] = json.loads(path); "
    "sys.argv[:] = ['harl-play', *words]; from harl_isaac.cli.entry import play; play()"
)


def film_once(checkpoint: Path, out: Path, trusted: bool) -> str:
    """Film a checkpoint that was made for it, and delete it; "" or, in one line, why there is no video."""
    reason = film(checkpoint, out, *(["trust=true"] if trusted else []))  # training runs the task's code already
    try:
        checkpoint.unlink()
    except OSError as error:
        return reason or str(error)
    return reason


def film(checkpoint: Path, out: Path, *words: str) -> str:
    """Play an episode of a checkpoint or run folder into the file `out`; "" or, in one line, why there is none."""
    given = [f"run={checkpoint}", f"out={out}", "episodes=1", *words]
    environment = {key: value for key, value in os.environ.items() if key not in ("DISPLAY", "WAYLAND_DISPLAY")}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        result = subprocess.run(
            [sys.executable, "-c", START, json.dumps(sys.path), *given],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=SECONDS,
            env=environment,
            start_new_session=True,  # Ctrl-C of a terminal stops the training, not this
        )
    except subprocess.TimeoutExpired:
        return f"drawing took more than {SECONDS} s"
    except OSError as error:
        return str(error)
    if result.returncode == 0 and out.is_file():
        return ""
    last = (result.stderr.strip().splitlines() or ["nothing was drawn"])[-1]
    prefix = "harl-play: "
    return last[len(prefix) :] if last.startswith(prefix) else last
