"""Policy files: a checkpoint with nothing but the policies, and what is needed to rebuild and to play them.

Such a file has the format of checkpoints, and is read with the same checks: as data, and each record against its
checksum. It needs no run folder: the settings lie in it. Weights keep their type, so that it plays bit for bit as the
checkpoint does.
"""

from pathlib import Path
from typing import Any, Dict, List, Optional

from harl_isaac import policies
from harl_isaac.env import EnvSpec
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.settings import TaskCfg
from harl_isaac.training import checkpoint
from harl_isaac.training.run_folder import versions
from harl_isaac.training.saved_spec import spec_state

SUFFIX = ".policy"
KIND = "policy"  # under "kind" in the file
SHIPPED = Path(policies.__file__).parent  # policy files that come with the package


def is_policy(saved: Dict[str, Any]) -> bool:
    """Whether a training state that was read is a policy file's."""
    return saved.get("kind") == KIND


def policy_state(saved: Dict[str, Any], task: TaskCfg, algo: AlgoCfg, spec: EnvSpec) -> Dict[str, Any]:
    """The content of a policy file, from a checkpoint's (or a policy file's) and the environment's spec."""
    if is_policy(saved):
        return saved
    return {
        "kind": KIND,
        "task": task.name,
        "algo": algo.name,
        "sizes": saved["sizes"],
        "spec": spec_state(spec),
        "settings": checkpoint.settings_state(task, algo, saved.get("settings", {}).get("modules")),
        "learner": {"actors": {name: value.cpu() for name, value in saved["learner"]["actors"].items()}},
        "counters": saved["counters"],
        "versions": versions(),
    }


def save(path: Path, state: Dict[str, Any]) -> None:
    """Write a `policy_state`. Raises ValueError where the file would replace another kind of file, OSError."""
    if path.is_dir() or path.suffix != SUFFIX:
        raise ValueError(f"out={path}: give a file whose name ends in {SUFFIX}, such as out=mine{SUFFIX}")
    checkpoint.save(path, state)


def find(name: str) -> Path:
    """The file that policy=<name or file> means: a file, or one that comes with the package. Raises ValueError."""
    path = Path(name)
    if path.is_file():
        return path
    shipped = SHIPPED / f"{name.replace('/', '-')}{SUFFIX}"
    if shipped.is_file():
        return shipped
    raise ValueError(f"policy={name} is no file, and no policy of the package; there: {', '.join(names()) or 'none'}")


def names() -> List[str]:
    """Names of the policies that come with the package."""
    return sorted(file.stem for file in SHIPPED.glob("*" + SUFFIX))


def chosen(run: Optional[str], policy: Optional[str]) -> str:
    """The path that a command's run= or policy= means. Raises ValueError where both are given."""
    if run and policy:
        raise ValueError(f"run={run} and policy={policy}: give one of them")
    return str(find(policy)) if policy else run or ""


def check_resumable(file: Path) -> None:
    """Raise ValueError for a policy file, from which no training goes on."""
    if file.suffix == SUFFIX:
        raise ValueError(
            f"{file} is a policy file: it can be played, evaluated and exported (run={file}), but not resumed, which "
            "takes a run folder or a checkpoint"
        )
