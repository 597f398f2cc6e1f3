"""Text of `harl-train --help`.

Hydra's own help copies the configuration once for every folder of experiments, which takes 20 seconds.
"""

import textwrap
from typing import Dict, List

from harl_isaac.cli.groups import group_names

USAGE = """Train heterogeneous agents. Values are given as key=value, several at once with -m (-m seed=1,2,3).

  harl-train task=ShadowHandOver algo=happo num_envs=256
  harl-train resume=runs/ShadowHandOver/happo/20260101-120000-seed1
  harl-train task=ShadowHandOver --cfg job             (show the whole configuration, train nothing)
  harl-train -m task=SumGame seed=1,2,3,4 launcher=joblib                              (several runs at once)
  harl-train -m task=SumGame sweeper=optuna 'algo.lr=interval(1e-4,1e-3)'              (search the best)"""
GROUPS = {
    "algo": "Algorithms",
    "task": "Tasks",
    "experiment": "Experiments: settings that belong together",
    "preset": "Presets: an algorithm's settings for a task, taken without being named (preset=none: not)",
    "launcher": "Places for the runs of a sweep (-m)",
    "sweeper": "Searches",
}
# key=default -> meaning; the defaults are those of task=ShadowHandOver algo=happo.
KEYS = {
    "num_envs=256": "environments in parallel",
    "total_steps=50000000": "environment steps in all",
    "seed=1": "",
    "device=auto": "auto, cpu, cuda, cuda:1, ...",
    "precision=highest": "of products on a GPU; high: TensorFloat-32, faster and coarser",
    "sim=auto": "physics engine: auto, mujoco (CPU), mujoco_warp (GPU)",
    "run_root=runs": "run folders are made in <run_root>/<task>/<algo>/",
    "run_name=null": "name of the new run folder; null: time and seed",
    "resume=null": "run folder or checkpoint to go on with; last: the newest; auto: that of run_name, if there",
    "init_from=null": "run folder (or checkpoint) whose policies a new run begins with",
    "modules=[]": "of one's own, with tasks or algorithms: [my_tasks,./mine.py]",
    "eval.interval=20": "iterations between evaluations, 0: never",
    "eval.episodes=64": "full episodes of each evaluation",
    "eval.video_interval=0": "evaluations between videos, <run>/videos/*.mp4, 0: none",
    "checkpoint.interval=10": "iterations between writing latest.pt",
    "checkpoint.keep_every=0": "iterations between checkpoints that are kept, 0: none",
    "log.console=auto": "auto (table on a terminal, lines elsewhere), lines, none",
    "log.interval=1": "iterations between lines",
    "log.wandb=false": "true: record with Weights & Biases too (log.wandb_project)",
    "algo.lr=0.0005": "and the algorithm's other settings: --cfg job",
    "task.object=egg": "and the task's other settings: --cfg job",
}
EXIT_CODES = """Exit codes: 0 finished, 75 stopped by a signal and resumable, 2 a mistake that one line explains (or
points of a sweep that failed), 1 a simulator crashed, 130 interrupted twice."""


def help_text() -> str:
    """Usage, all names of the groups, common keys with their defaults, exit codes; imports nothing heavy."""
    parts = [USAGE]
    for group, title in GROUPS.items():
        names = "\n".join(by_folder(group_names(group)))
        parts.append(f"{title} ({group}=...)\n{names}")
    keys = [f"  {word:<26} {meaning}".rstrip() for word, meaning in KEYS.items()]
    parts.append("\n".join(["Keys and defaults (task=ShadowHandOver algo=happo)", *keys]))
    parts.append(EXIT_CODES)
    return "\n\n".join(parts)


def by_folder(names: List[str]) -> List[str]:
    """Wrapped lines of the names, those of one folder together."""
    folders: Dict[str, List[str]] = {}
    for name in names:
        folder, slash, leaf = name.rpartition("/")
        folders.setdefault(folder + slash, []).append(leaf)
    lines = []
    for folder, leaves in sorted(folders.items()):
        heading = f"{folder}: " if folder else ""
        lines += _wrapped(heading + ", ".join(leaves))
    return lines


def _wrapped(text: str) -> List[str]:
    return textwrap.wrap(
        text,
        110,
        initial_indent="  ",
        subsequent_indent="      ",
        break_on_hyphens=False,
        break_long_words=False,
    )
