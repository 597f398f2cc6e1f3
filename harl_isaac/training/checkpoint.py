"""Checkpoints: one file each, with a format number, written so that a crash or a full disk leaves the last one whole."""

import os
from pathlib import Path
from typing import Any, Dict

import torch

from harl_isaac.env import EnvSpec

FORMAT = 2
FOLDER = "checkpoints"


def write_atomically(path: Path, write) -> None:
    """Let `write(file)` fill a neighbor of `path`, then put it in `path`'s place; on any failure `path` is untouched."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        if partial.exists():
            partial.unlink()
        raise


def save(path: Path, state: Dict[str, Any]) -> None:
    """Write a training state. Raises OSError with the path; the previous file then stays."""
    try:
        write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        raise OSError(
            "could not save {} ({}); the checkpoint before it is intact: free some space, then resume".format(
                path, str(error).split("\n")[0]
            )
        ) from None


def load(path: Path) -> Dict[str, Any]:
    """Read a training state onto the CPU. Raises ValueError if it is damaged or of another format."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        others = sorted(file.name for file in path.parent.glob("*.pt") if file != path)
        raise ValueError(
            "checkpoint {} is damaged ({}: {}){}".format(
                path,
                type(error).__name__,
                str(error).split("\n")[0][:100],
                "; resume=<file> can go on from one of: {}".format(", ".join(others)) if others else "",
            )
        ) from None
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        found = state.get("format") if isinstance(state, dict) else None
        raise ValueError(f"checkpoint {path} has format {found}; this version reads format {FORMAT}")
    return state


def find(where: str) -> Path:
    """The checkpoint file that a setting names: a file, or a run folder's latest. Raises ValueError."""
    path = Path(where)
    if path.is_file():
        return path
    if not path.is_dir():
        raise ValueError(f"no run folder or checkpoint at {where}")
    latest = path / FOLDER / "latest.pt"
    if not latest.is_file():
        raise ValueError(
            f"{where} holds no {FOLDER}/latest.pt: not a run folder, or its run ended before the first checkpoint"
        )
    return latest


def run_folder(checkpoint: Path) -> Path:
    """The run folder that a checkpoint lies in."""
    return checkpoint.parent.parent if checkpoint.parent.name == FOLDER else checkpoint.parent


def sizes(spec: EnvSpec) -> Dict[str, Any]:
    """What must agree between a checkpoint and the environment it goes on with."""
    return {
        "num_envs": spec.num_envs,
        "agents": list(spec.agents),
        "obs_sizes": list(spec.obs_sizes),
        "state_size": spec.state_size,
        "actions": [str(space) for space in spec.actions],
    }


def check_sizes(saved: Dict[str, Any], spec: EnvSpec, *ignore: str) -> None:
    """Raises ValueError that names the first size that differs."""
    for name, now in sizes(spec).items():
        if name not in ignore and saved[name] != now:
            raise ValueError(f"the checkpoint has {name}={saved[name]}, this environment {now}")
