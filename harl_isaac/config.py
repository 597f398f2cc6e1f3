"""A run's settings, their registration with hydra, and the checks that need several of them."""

from dataclasses import dataclass, field, fields
from typing import Dict, List, Optional

from hydra.core.config_store import ConfigStore
from omegaconf import MISSING, DictConfig, OmegaConf

from harl_isaac.algos import ALGOS
from harl_isaac.registry import default_settings
from harl_isaac.settings import AlgoCfg, TaskCfg
from harl_isaac.tasks import TASKS


@dataclass
class EvalCfg:
    """Evaluation while training: the deterministic policy on environments of its own."""

    interval: int = 20  # iterations, 0: never
    episodes: int = 64  # full episodes, at most num_envs at a time


@dataclass
class CheckpointCfg:
    """When training writes its state."""

    interval: int = 10  # iterations between writing latest.pt
    keep_every: int = 0  # iterations between checkpoints that stay, 0: none


@dataclass
class LogCfg:
    """What is shown while training."""

    console: str = "auto"  # auto (live table on a terminal, lines elsewhere), lines, none
    interval: int = 1  # iterations between lines


@dataclass
class RunCfg:
    """A whole run. `task` and `algo` come from the registries TASKS and ALGOS."""

    task: TaskCfg = MISSING
    algo: AlgoCfg = MISSING
    num_envs: int = 256
    total_steps: int = 50_000_000  # environment steps (the paper's, Section 5.5)
    seed: int = 1
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    sim: str = "auto"  # auto, mujoco, mujoco_warp
    resume: Optional[str] = None
    run_root: str = "runs"
    eval: EvalCfg = field(default_factory=EvalCfg)
    checkpoint: CheckpointCfg = field(default_factory=CheckpointCfg)
    log: LogCfg = field(default_factory=LogCfg)


# What a resumed run may change: nothing that its past depends on.
RESUMABLE = ("total_steps", "device", "resume", "run_root", "eval", "checkpoint", "log", "algo.replay_device")


def register() -> None:
    """Tell hydra the schema, the tasks and the algorithms."""
    store = ConfigStore.instance()
    store.store(name="run_schema", node=RunCfg)
    for group, registry in (("task", TASKS), ("algo", ALGOS)):
        for name in registry:
            folder, _, leaf = name.rpartition("/")  # a family's tasks are chosen as task=family/Name
            store.store(
                group=group + "/" + folder if folder else group,
                name=leaf,
                node=default_settings(registry, name),
                package=group,
            )


def to_run(cfg: DictConfig) -> RunCfg:
    """The dataclasses of a composed configuration, checked. Raises ValueError."""
    run = OmegaConf.to_object(cfg)
    for name, least in (
        ("num_envs", 1),
        ("total_steps", 1),
        ("eval.interval", 0),
        ("eval.episodes", 1),
        ("checkpoint.interval", 1),
        ("checkpoint.keep_every", 0),
        ("log.interval", 1),
    ):
        value = OmegaConf.select(cfg, name)
        if value < least:
            raise ValueError(f"{name}={value} must be at least {least}")
    if run.log.console not in ("auto", "lines", "none"):
        raise ValueError(f"log.console={run.log.console}; possible: auto, lines, none")
    for group, chosen in (("task", run.task), ("algo", run.algo)):
        known = [each.name for each in fields(chosen)]
        for key in cfg[group]:
            if key not in known:  # a + or ++ lets hydra take what nobody asks for
                raise ValueError(
                    "key {}.{} is unknown; possible: {}".format(group, key, ", ".join(group + "." + n for n in known))
                )
    return run


def differences(old: Dict, new: Dict, prefix: str = "") -> List[str]:
    """Settings that differ between two plain configurations, as "key: was ..., now ..."."""
    found = []
    for key in sorted(set(old) | set(new)):
        if prefix + key in RESUMABLE:
            continue
        was = old.get(key)
        now = new.get(key)
        if isinstance(was, dict) and isinstance(now, dict):
            found += differences(was, now, prefix + key + ".")
        elif was != now:
            found.append(f"{prefix}{key}: was {was}, now {now}")
    return found
