"""Messages of a run to its user, and errors about its numbers."""

import math
import shlex
from pathlib import Path
from typing import Dict, Optional, Protocol, runtime_checkable

from harl_isaac import ranks
from harl_isaac.config import RunCfg
from harl_isaac.env import EnvironmentFault, MultiAgentEnv
from harl_isaac.hints import invocation, missing_extra
from harl_isaac.training.checkpoint import FOLDER
from harl_isaac.training.logger import line


@runtime_checkable
class ReplaySettings(Protocol):
    """Settings that an algorithm with a replay buffer has."""

    buffer_size: int  # transitions
    save_replay: bool  # whether latest.pt holds the replay


def start_text(cfg: RunCfg, env: MultiAgentEnv, folder: Path) -> str:
    """First line of a run, and a second where its physics could be faster."""
    spec = env.spec
    engine = getattr(getattr(env, "physics", None), "name", "")
    where = f"{spec.device}{f' ({engine})' if engine else ''}"
    processes = f" in {ranks.world()} processes" if ranks.world() > 1 else ""
    sizes = f"{spec.num_agents} agents, {cfg.num_envs} environments"
    text = f"{cfg.task.name}, {cfg.algo.name}: {sizes} on {where}{processes}; {folder}"
    note = getattr(getattr(env, "physics", None), "note", "")
    if note:
        text += f"\n{note}"
    if engine == "mujoco" and spec.device.type == "cuda" and cfg.sim == "auto":
        text += f"\nthe physics runs on the CPU ({missing_extra('warp')}); sim=mujoco says that this is meant"
    return text


def replay_text(settings: ReplaySettings, num_bytes: int, on_host: bool) -> str:
    """Size of the replay buffer; `on_host`: in the host's memory, for a learner on a GPU."""
    text = f"replay of {settings.buffer_size} transitions: up to {num_bytes / 2**30:.2f} GiB"
    if on_host:
        text += " of the host's memory (slower: each batch is copied)"
    if settings.save_replay:
        text += ", in every latest.pt too (algo.save_replay=false leaves it out)"
    return text


def warmup_text(steps: int, left: int) -> str:
    """Number of steps without an update at the beginning of a run that has `left` to go."""
    text = f"the first {steps} steps fill the replay; updates begin after them (algo.warmup_steps)"
    if steps >= left:
        text += (
            f"; this run ends {'with' if steps == left else 'before'} them and learns nothing: give more total_steps"
        )
    return text


def end_text(
    numbers: Dict[str, float], iteration: int, steps: int, total: int, folder: Path, trust: bool = False
) -> str:
    """Last lines of a run; `numbers` are the last iteration's, if there was one; `trust`: resuming needs trust=true."""
    lines = [f"{'finished' if steps >= total else 'stopped'} after {iteration} iterations, {steps} steps"]
    if numbers:
        lines.append("last iteration: " + line(numbers))
    lines.append(f"checkpoint: {folder / FOLDER / 'latest.pt'}")
    if steps < total:
        lines.append(resume_text(folder, trust))
    return "\n".join(lines)


def resume_text(folder: Path, trust: bool = False) -> str:
    """The command that goes on with a run; `trust`: it needs trust=true."""
    return f"go on with: {invocation('train')} {shlex.quote(f'resume={folder}')}{' trust=true' * trust}"


def check_finite(numbers: Dict[str, float], iteration: int, folder: Optional[Path] = None) -> None:
    """Raise FloatingPointError that names the first metric of an actor or critic which is not finite."""
    for name, value in numbers.items():
        if name.startswith(("actor/", "critic/")) and not math.isfinite(value):
            raise FloatingPointError(
                f"{name} is not finite at iteration {iteration}, though all that the environment returned was: start a "
                f"new run with a lower learning rate or a smaller max_grad_norm ({checkpoint_text(folder)})"
            )


def checkpoint_text(folder: Optional[Path]) -> str:
    """The checkpoint that a failed run has left, if any."""
    latest = None if folder is None else folder / FOLDER / "latest.pt"
    if latest is None or not latest.is_file():
        return "there is no checkpoint yet"
    return f"the last checkpoint, {latest}, is from before"


def fault_text(cfg: RunCfg, fault: EnvironmentFault, when: str, outcome: str) -> str:
    """An environment's fault, for its author; `outcome`: what is left of the run."""
    return (
        f"task={cfg.task.name} (seed={cfg.seed}) broke its contract {when}: {fault}. This was kept out of what is "
        f"learned from; harl_isaac.check_env tests an environment; {outcome}"
    )
