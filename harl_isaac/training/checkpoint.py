"""Checkpoints: one file each, with a format number; a crash or a full disk while writing leaves the last one whole."""

import zipfile
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any, Dict, Iterator, NoReturn, Tuple

import torch
from torch import Tensor

from harl_isaac import ranks
from harl_isaac.env import EnvSpec, SimulatorError
from harl_isaac.outputs import write_atomically

FORMAT = 3
FOLDER = "checkpoints"
# Keys of a learner's state in format 2 -> in format 3
RENAMED_IN_3 = {"optimisers": "optimizers", "optimiser": "optimizer", "followers": "targets"}


def save(path: Path, state: Dict[str, Any]) -> None:
    """Write a training state. Raises OSError with the path; the previous file then stays."""
    try:
        write_atomically(path, lambda file: torch.save({"format": FORMAT, **state}, file))
    except (OSError, RuntimeError) as error:  # torch's zip writer turns a full disk into a RuntimeError
        raise OSError(
            f"could not save {path} ({_first_line(error)}); the checkpoint before it is intact: free some space, "
            "then resume"
        ) from None


def load(path: Path) -> Dict[str, Any]:
    """Read a training state onto the CPU, in the current format.

    Raises ValueError if the file is damaged (a byte of it changed) or of a format that this version does not read.
    """
    try:
        check_crcs(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        _raise_damaged(path, error)
    found = state.get("format") if isinstance(state, dict) else None
    if found == 2:
        return {**state, "format": FORMAT, "learner": upgraded_learner(state.get("learner"))}
    if found != FORMAT:
        raise ValueError(f"checkpoint {path} has format {found}; this version reads formats 2 and {FORMAT}")
    return state


def check_crcs(path: Path) -> None:
    """Raise ValueError where a record of the file, which is a zip archive, differs from its checksum."""
    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
    if damaged is not None:
        raise ValueError(f"checksum of {damaged}")


def upgraded_learner(state: Any) -> Any:
    """A learner's state of format 2 with the keys of format 3, in nested dicts and lists."""
    if isinstance(state, dict):
        return {RENAMED_IN_3.get(key, key): upgraded_learner(value) for key, value in state.items()}
    if isinstance(state, list):
        return [upgraded_learner(value) for value in state]
    return state


def _raise_damaged(path: Path, error: Exception) -> NoReturn:
    """Raise ValueError that names the other checkpoints of the folder."""
    others = sorted(file.name for file in path.parent.glob("*.pt") if file != path)
    hint = f"; resume=<file> can go on from one of: {', '.join(others)}" if others else ""
    reason = f"{type(error).__name__}: {_first_line(error)[:100]}"
    raise ValueError(f"checkpoint {path} is damaged ({reason}){hint}") from None


def _first_line(error: Exception) -> str:
    return str(error).split("\n")[0]


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


def policy_file(run: str) -> Path:
    """The checkpoint whose policies a run folder stands for, its best or else its latest, or the file itself.

    Raises ValueError.
    """
    if not run:
        raise ValueError("give run=<run folder>, such as run=runs/ShadowHandOver/happo/20260101-120000-seed1")
    best = Path(run) / FOLDER / "best.pt"
    return best if best.is_file() else find(run)


def settings_state(task: Any, algo: Any, modules: Any) -> Dict[str, Any]:
    """Settings of a task and an algorithm (dataclasses), and the modules that they come from, as `plain` data."""
    return {"task": plain(asdict(task)), "algo": plain(asdict(algo)), "modules": plain(modules)}


def plain(value: Any) -> Any:
    """Settings as data that any version reads: numbers, words, lists and dicts; of anything else, what it prints."""
    if isinstance(value, dict):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    return value if value is None or type(value) in (bool, int, float, str) else str(value)


def run_folder(checkpoint: Path) -> Path:
    """The run folder that a checkpoint lies in."""
    return checkpoint.parent.parent if checkpoint.parent.name == FOLDER else checkpoint.parent


def sizes(spec: EnvSpec) -> Dict[str, Any]:
    """Sizes on which a checkpoint and the environment that it is resumed with must agree."""
    return {
        "num_envs": spec.num_envs * ranks.world(),
        "agents": list(spec.agents),
        "obs_sizes": list(spec.obs_sizes),
        "state_size": spec.state_size,
        "actions": [str(space) for space in spec.actions],
    }


def check_sizes(saved: Dict[str, Any], spec: EnvSpec, *ignore: str) -> None:
    """Raise ValueError with the first of the saved sizes that differs from the spec's, but for those to ignore."""
    for name, now in sizes(spec).items():
        if name not in ignore and saved[name] != now:
            raise ValueError(f"the checkpoint has {name}={saved[name]}, this environment {now}")


def check_run(state: Dict[str, Any], task: str, algo: str, file: Path) -> None:
    """Raise ValueError where a checkpoint is of another task or algorithm than the run's settings.

    Checkpoints from before this was kept are taken as they are.
    """
    for key, name in (("task", task), ("algo", algo)):
        found = state.get(key, name)
        if found != name:
            raise ValueError(f"checkpoint {file} is of {key}={found}, the run folder's settings have {key}={name}")


def counters(state: Dict[str, Any]) -> Tuple[int, int, float]:
    """Iterations and steps done, and the best evaluation. Raises TypeError where they are no such numbers."""
    iteration = state["counters"]["iteration"]
    steps = state["counters"]["steps"]
    best = state["counters"]["best"]
    for name, value in (("iteration", iteration), ("steps", steps)):
        if not isinstance(value, int) or not 0 <= value < 2**63:
            raise TypeError(f"{name} {value!r} is no count")
    if not isinstance(best, float):
        raise TypeError(f"best {best!r} is no number")
    return iteration, steps, best


@contextmanager
def damage_named(file: Path) -> Iterator[None]:
    """Turn errors of loading a state into ValueError with the file: keys that are missing, other networks' shapes."""
    try:
        yield
    except SimulatorError:  # which the file is not to blame for
        raise
    except (KeyError, RuntimeError, TypeError, AttributeError, IndexError) as error:
        reason = _first_line(error) if isinstance(error, RuntimeError) else f"{type(error).__name__}: {error}"
        raise ValueError(
            f"checkpoint {file} does not fit the run folder's settings ({reason[:120]}); use a checkpoint of this run"
        ) from None


def check_finite_weights(weights: Dict[str, Tensor], file: Path) -> None:
    """Raise ValueError that names a policy's weight which is not finite."""
    for name, value in weights.items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            raise ValueError(f"checkpoint {file} has a policy whose {name} is not finite; use an earlier checkpoint")


def random_state(device: torch.device) -> Dict[str, Any]:
    """State of torch's global random generators: the CPU's, and the device's if it is a CUDA device."""
    cuda = torch.cuda.get_rng_state(device) if device.type == "cuda" else None
    return {"torch": torch.get_rng_state(), "cuda": cuda}


def restore_random_state(state: Dict[str, Any], device: torch.device) -> None:
    """Restore a `random_state`; a CUDA device keeps its own where the state has none."""
    torch.set_rng_state(state["torch"])
    if device.type == "cuda" and state["cuda"] is not None:
        torch.cuda.set_rng_state(state["cuda"], device)
