"""Names that the configuration groups hold. Imports nothing heavy."""

from pathlib import Path
from typing import Dict, List

from harl_isaac import cfg
from harl_isaac.algos import ALGOS
from harl_isaac.tasks import TASKS

FOLDERS = ("experiment", "preset", "launcher", "sweeper")


def group_names(group: str) -> List[str]:
    """Sorted names of a configuration group: task, algo, experiment, preset, launcher or sweeper."""
    if group in FOLDERS:
        folder = Path(cfg.__file__).parent / group
        return sorted(str(path.relative_to(folder).with_suffix("")) for path in folder.rglob("*.yaml"))
    registries: Dict[str, Dict[str, str]] = {"task": TASKS, "algo": ALGOS}
    return sorted(registries.get(group, {}))
