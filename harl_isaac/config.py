"""A run's settings, their registration with hydra, and the checks that need several of them."""

import math
from dataclasses import dataclass, field, fields, is_dataclass
from functools import partial
from typing import Any, Dict, List, Optional, cast

from hydra.core.config_store import ConfigNode, ConfigStore
from hydra.core.global_hydra import GlobalHydra
from omegaconf import MISSING, DictConfig, OmegaConf

from harl_isaac.algos import ALGOS
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.registry import default_settings
from harl_isaac.settings import MOST_REPEATS, TaskCfg, check_engine, check_seed
from harl_isaac.tasks import TASKS

NO_PRESET = "none"  # the algorithm's own defaults


@dataclass
class EvalCfg:
    """Evaluation during training: the deterministic policy on environments of its own."""

    interval: int = 20  # iterations, 0: never
    episodes: int = 64  # full episodes, at most num_envs at a time
    video_interval: int = 0  # evaluations between videos of an episode, 0: none


@dataclass
class CheckpointCfg:
    """When training writes its state."""

    interval: int = 10  # iterations between writing latest.pt
    keep_every: int = 0  # iterations between checkpoints that stay, 0: none


@dataclass
class LogCfg:
    """Console output during training, and where else its records go."""

    console: str = "auto"  # auto (live table on a terminal, lines elsewhere), lines, none
    interval: int = 1  # iterations between lines
    wandb: bool = False  # record with Weights & Biases too
    wandb_project: str = "harl_isaac"  # of Weights & Biases, in which the run is recorded


@dataclass
class RunCfg:
    """Settings of a run. `task` and `algo` come from the registries TASKS and ALGOS."""

    task: TaskCfg = MISSING
    algo: AlgoCfg = MISSING
    num_envs: int = 256
    total_steps: int = 50_000_000  # environment steps (the paper's, Section 5.5)
    seed: int = 1
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    sim: str = "auto"  # auto, mujoco, mujoco_warp
    precision: str = "highest"  # of products of float32 on a GPU: highest, high (TensorFloat-32)
    run_name: Optional[str] = None  # name of the new run folder; null: time and seed
    resume: Optional[str] = None  # run folder or checkpoint; last: the newest; auto: that of run_name, if there
    init_from: Optional[str] = None  # run folder or checkpoint whose policies a new run begins with
    trust: bool = False  # a resumed run may run code of other packages that its folder names
    modules: List[str] = field(default_factory=list)  # with tasks and algorithms of one's own: names, or files
    run_root: str = "runs"
    eval: EvalCfg = field(default_factory=EvalCfg)
    checkpoint: CheckpointCfg = field(default_factory=CheckpointCfg)
    log: LogCfg = field(default_factory=LogCfg)


# Settings that a resumed run may change: nothing that its past depends on.
RESUMABLE = (
    *("total_steps", "device", "precision", "run_name", "resume", "init_from", "trust", "modules", "run_root"),
    *("eval", "checkpoint", "log", "algo.replay_device"),
)


MINIMUMS = {
    "num_envs": 1,
    "total_steps": 1,
    "eval.interval": 0,
    "eval.episodes": 1,
    "eval.video_interval": 0,
    "checkpoint.interval": 1,
    "checkpoint.keep_every": 0,
    "log.interval": 1,
}
MAXIMUMS = {"eval.episodes": MOST_REPEATS}
LARGEST_INTEGER = 2**63 - 1  # that tensors, records and libraries hold
CONSOLES = ("auto", "lines", "none")


def register() -> None:
    """Register the schema, the tasks and the algorithms with hydra."""
    ConfigStore.instance().store(name="run_schema", node=RunCfg)
    _register_group("task", TASKS)
    _register_group("algo", ALGOS)


def _register_group(group: str, registry: Dict[str, str]) -> None:
    for name in registry:
        folder, _, leaf = name.rpartition("/")  # a family's tasks are chosen as task=family/Name
        path = f"{group}/{folder}" if folder else group
        place: Dict[str, Any] = ConfigStore.instance().repo
        for part in path.split("/"):
            place = place.setdefault(part, LazyGroup())
        file = f"{leaf}.yaml"
        place[file] = partial(_config_node, group, path, file, registry, name)


class LazyGroup(Dict[str, Any]):
    """Settings in hydra's store, made when it asks for them: it needs two of some hundred."""

    def __getitem__(self, file: str) -> Any:
        """The settings of a file, or the group of a folder."""
        value = super().__getitem__(file)
        if isinstance(value, partial):
            value = self[file] = value()
        return value


def _config_node(group: str, path: str, file: str, registry: Dict[str, str], name: str) -> ConfigNode:
    node = OmegaConf.structured(default_settings(registry, name))
    return ConfigNode(name=file, node=node, group=path, package=group, provider=None)


def to_run(cfg: DictConfig) -> RunCfg:
    """The dataclasses of a composed configuration, checked. Raises ValueError."""
    run = cast(RunCfg, OmegaConf.to_object(cfg))
    check_numbers(run)
    for name, minimum in MINIMUMS.items():
        value = OmegaConf.select(cfg, name)
        if value < minimum:
            raise ValueError(f"{name}={value} must be at least {minimum}")
    for name, maximum in MAXIMUMS.items():
        value = OmegaConf.select(cfg, name)
        if value > maximum:
            raise ValueError(f"{name}={value} must be at most {maximum}")
    check_seed(run.seed)
    check_engine(run.sim)
    if run.log.console not in CONSOLES:
        raise ValueError(f"log.console={run.log.console}; possible: {', '.join(CONSOLES)}")
    check_keys(cfg, run)
    check_names(run)
    return run


def chosen_preset(choices: Dict[str, str]) -> str:
    """Name of the preset among hydra's `choices`, "none" where the task and the algorithm have none together."""
    chosen = choices.get("preset") or NO_PRESET
    folder, _, name = chosen.rpartition("/")
    known = GlobalHydra.instance().config_loader().get_group_options(f"preset/{folder}".rstrip("/"))
    return chosen if name in known else NO_PRESET


def check_numbers(settings: Any, prefix: str = "") -> None:
    """Raise ValueError, with the key, for nan, for integers of more than 64 bits, and for an infinite task.

    What a setting of an algorithm may be beside that, it checks itself; keys of a simulator's own are not looked at.
    """
    for each in fields(settings):
        key = prefix + each.name
        value = getattr(settings, each.name)
        if is_dataclass(value):
            check_numbers(value, key + ".")
            continue
        for number in value if isinstance(value, (list, tuple)) else [value]:
            infinite = isinstance(number, float) and math.isinf(number) and key.startswith("task.")
            if infinite or (isinstance(number, float) and math.isnan(number)):
                raise ValueError(f"{key}={value} must be a finite number")
            if isinstance(number, int) and abs(number) > LARGEST_INTEGER:
                raise ValueError(f"{key}={value} is larger than {LARGEST_INTEGER}")


def check_keys(cfg: DictConfig, settings: Any, prefix: str = "") -> None:
    """Raise ValueError for a key that the settings do not have, here or deeper: a + or ++ lets hydra accept it."""
    known = [each.name for each in fields(settings)]
    for key in map(str, cfg):
        if key not in known:
            possible = ", ".join(prefix + name for name in known)
            raise ValueError(f"key {prefix}{key} is unknown; possible: {possible}")
        value = getattr(settings, key)
        if is_dataclass(value):
            check_keys(cfg[key], value, f"{prefix}{key}.")


def check_names(run: RunCfg) -> None:
    """Raise ValueError where task.name or algo.name was set by hand: the run would be recorded as another."""
    for group, registry, settings in (("task", TASKS, run.task), ("algo", ALGOS, run.algo)):
        name = settings.name
        if name not in registry or type(settings) is not type(default_settings(registry, name)):
            raise ValueError(f"{group}.name={name} is not what was chosen; choose by {group}=<name>")


def differences(old: Dict[str, Any], new: Dict[str, Any], prefix: str = "") -> List[str]:
    """Settings that differ between two plain configurations, as "key: was ..., now ..."."""
    found = []
    for key in sorted(set(old) | set(new), key=str):
        name = f"{prefix}{key}"
        if name in RESUMABLE:
            continue
        was = old.get(key)
        now = new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found += differences(was, now, name + ".")
        elif was != now:
            found.append(f"{name}: was {was}, now {now}")
    return found
