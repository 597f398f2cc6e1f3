"""python scripts/draw_tasks.py: a picture of the start of every task that MuJoCo simulates here, <task>.png in `out`.

Keys: tasks=ShadowHand (those whose names begin so), out=docs/tasks, seed=1.
"""

from pathlib import Path
from typing import List

import torch

from harl_isaac.cli.arguments import read_arguments
from harl_isaac.cli.play import snapshot, write_parts
from harl_isaac.cli.recording import VisibleEnv
from harl_isaac.registry import default_settings
from harl_isaac.rendering.film import Label
from harl_isaac.tasks import TASKS

PICTURED = ("ShadowHand", "AllegroHand", "LeapHand", "mamujoco/")
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
    pictured = [name for name in sorted(TASKS) if name.startswith(PICTURED)]
    chosen = [name for name in pictured if name.startswith(beginning)]
    if not chosen:
        raise ValueError(f"tasks={beginning}: no task begins so; possible: {', '.join(pictured)}")
    return chosen


def draw_start(env: VisibleEnv, seed: int, out: Path) -> None:
    """Write a picture of the first environment's first state to `out`."""
    env.reset(seed)
    frame = [part[:1].cpu().numpy() for part in snapshot(env)]
    write_parts(env, frame, [Label(0, env.cfg.name)], out, fps=1.0)
