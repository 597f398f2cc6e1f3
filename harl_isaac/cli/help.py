"""Text of `python train.py --help`.

Hydra's own help copies the configuration once for every folder of experiments, which takes 20 seconds.
"""

import textwrap
from typing import Dict, List

from hydra import compose, initialize_config_module
from omegaconf import OmegaConf

from harl_isaac.cli.overrides import CONFIG, group_names

USAGE = """Train heterogeneous agents. Values are given as key=value, several at once with -m (-m seed=1,2,3).

  python train.py task=ShadowHandOver algo=happo num_envs=256
  python train.py resume=runs/ShadowHandOver/happo/20260101-120000-seed1
  python train.py task=ShadowHandOver --cfg job        (show the whole configuration, train nothing)"""
GROUPS = {"algo": "Algorithms", "task": "Tasks", "experiment": "Experiments: settings that belong together"}
KEYS = {
    "num_envs": "environments in parallel",
    "total_steps": "environment steps in all",
    "seed": "",
    "device": "auto, cpu, cuda, cuda:1, ...",
    "sim": "physics engine: auto, mujoco (CPU), mujoco_warp (GPU)",
    "resume": "run folder (or one of its checkpoints) to go on with",
    "run_root": "run folders are made in <run_root>/<task>/<algo>/",
    "eval.interval": "iterations between evaluations, 0: never",
    "eval.episodes": "full episodes of each evaluation",
    "eval.video_interval": "evaluations between videos, <run>/videos/*.mp4, 0: none",
    "checkpoint.interval": "iterations between writing latest.pt",
    "checkpoint.keep_every": "iterations between checkpoints that are kept, 0: none",
    "log.console": "auto (table on a terminal, lines elsewhere), lines, none",
    "log.interval": "iterations between lines",
    "log.wandb": "true: record with Weights & Biases too (log.wandb_project)",
    "algo.lr": "and the algorithm's other settings: --cfg job",
    "task.object": "and the task's other settings: --cfg job",
}


def help_text() -> str:
    """Usage, all names of the groups, and the common keys with their defaults for HAPPO on ShadowHandOver."""
    parts = [USAGE]
    for group, title in GROUPS.items():
        names = "\n".join(by_folder(group_names(group)))
        parts.append(f"{title} ({group}=...)\n{names}")
    parts.append("\n".join(["Keys and defaults (task=ShadowHandOver algo=happo)", *_keys_with_defaults()]))
    return "\n\n".join(parts)


def _keys_with_defaults() -> List[str]:
    """One line for each of KEYS: key=default and its meaning."""
    with initialize_config_module(CONFIG, version_base="1.3"):
        cfg = compose("config", ["task=ShadowHandOver", "algo=happo"])
    lines = []
    for key, meaning in KEYS.items():
        value = OmegaConf.select(cfg, key)
        word = f"{key}={'null' if value is None else value}"
        lines.append(f"  {word:<26} {meaning}".rstrip())
    return lines


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
