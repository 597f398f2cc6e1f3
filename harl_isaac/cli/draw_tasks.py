"""python scripts/draw_tasks.py: a picture of the start of every task that MuJoCo simulates here, <task>.png in `out`.

Keys: tasks=ShadowHand (those whose names begin so), out=docs/tasks, seed=1.
"""

import tempfile
from pathlib import Path
from typing import Any, List

import torch

from harl_isaac.cli.arguments import read_arguments
from harl_isaac.registry import default_settings
from harl_isaac.rendering.film import Label
from harl_isaac.rendering.mujoco_video import render, save_recording
from harl_isaac.tasks import TASKS

VisibleTask = Any  # a PhysicsTask with `visual_model()`
DEFAULTS = {"tasks": "ShadowHand", "out": "docs/tasks", "seed": 1}


def main() -> None:
    """Draw the tasks named on the command line. Raises ValueError if no task's name begins so."""
    args = read_arguments(__doc__, DEFAULTS)
    out = Path(args["out"])
    names = drawable(args["tasks"])
    out.mkdir(parents=True, exist_ok=True)
    for name in names:
        env = default_settings(TASKS, name).make(1, torch.device("cpu"), "mujoco")
        file = out / f"{name.replace('/', '_')}.png"
        draw_start(env, args["seed"], file)
        env.close()
        print(file)


def drawable(beginning: str) -> List[str]:
    """Names of the hand and MAMuJoCo tasks that begin with `beginning`. Raises ValueError if there is none."""
    pictured = [name for name in sorted(TASKS) if name.startswith(("ShadowHand", "mamujoco/"))]
    chosen = [name for name in pictured if name.startswith(beginning)]
    if not chosen:
        raise ValueError(f"tasks={beginning}: no task begins so; possible: {', '.join(pictured)}")
    return chosen


def draw_start(env: VisibleTask, seed: int, out: Path) -> None:
    """Write a picture of the first environment's first state to `out`."""
    env.reset(seed)
    physics = env.physics
    parts = (physics.qpos, physics.mocap_pos, physics.mocap_quat)
    frame = [part[:1].cpu().numpy() for part in parts]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording.npz"
        save_recording(file, env.visual_model(), frame, [Label(0, env.cfg.name)], fps=1.0)
        render(file, out)
