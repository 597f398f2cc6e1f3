"""python scripts/list_tasks.py: every task with its agents, widths, actions and engines."""

import torch
from rich.console import Console
from rich.table import Table

from harl_isaac.env import Box, Discrete
from harl_isaac.registry import TASKS, default_settings
from harl_isaac.tasks import FAMILIES


def short(space) -> str:
    if isinstance(space, Box):
        return f"Box({space.size})"
    return (
        f"Discrete({space.n})"
        if isinstance(space, Discrete)
        else "MultiDiscrete({})".format(", ".join(str(n) for n in space.nvec))
    )


def row(words, separator: str) -> str:
    """All words, or if there are many: the first to the last, or how often the same one."""
    words = list(words)
    if len(words) <= 3:
        return separator.join(words)
    same = len(set(words)) == 1
    return f"{len(words)} x {words[0]}" if same else f"{words[0]} ... {words[-1]}"


def main() -> None:
    table = Table("task", "agents", "observations", "actions", "state", "episode", "engines", box=None)
    missing = {}  # family -> why the first of its tasks is not available
    for column in table.columns:
        column.no_wrap = True
    others = [
        name for name in sorted(TASKS) if name.partition("/")[0] in FAMILIES
    ]  # a process can make one of them at most
    for name in sorted(set(TASKS) - set(others)):
        try:
            env = default_settings(TASKS, name).make(1, torch.device("cpu"), "auto")
        except (ImportError, ValueError) as error:
            table.add_row(name, "not available here")
            missing.setdefault(name.split("/")[0], error)
            continue
        spec = env.spec
        engines = (
            "mujoco, mujoco_warp"
            if hasattr(env, "physics")
            else "worker processes"
            if hasattr(env, "crew")
            else "torch"
        )
        table.add_row(
            name,
            row(spec.agents, ", "),
            row((str(size) for size in spec.obs_sizes), " "),
            row((short(space) for space in spec.actions), " "),
            str(spec.state_size),
            f"{spec.max_episode_steps} steps",
            engines,
        )
        env.close()
    Console(width=max(180, Console().width)).print(table)
    for error in missing.values():
        print(error)
    print(
        "with simulators of your own (docs/isaacgym.md, docs/isaaclab.md): {}, or any other of theirs".format(
            ", ".join(others)
        )
    )
