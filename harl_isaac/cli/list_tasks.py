"""harl-list: every task with its agents, widths, actions and engines.

Keys: modules=[...] (with tasks and algorithms of one's own: names or files).
"""

from typing import Dict, Iterable, Tuple

import torch
from rich.console import Console
from rich.table import Table

from harl_isaac.algos import ALGOS
from harl_isaac.cli.arguments import read_arguments
from harl_isaac.cli.modules import load_modules
from harl_isaac.env import Box, Discrete, MultiAgentEnv, Space
from harl_isaac.hints import source_file
from harl_isaac.plugins import FAILURES, broken_plugins, describe
from harl_isaac.registry import default_settings
from harl_isaac.tasks import FAMILIES, TASKS


def main() -> None:
    """Print a table of all tasks; below it, what to install for those that are not available here."""
    load_modules(read_arguments(__doc__, {"modules": None})["modules"])
    problems = broken_plugins()
    # A process can make at most one environment of these families: they are listed by name only.
    external = [name for name in sorted(TASKS) if name.partition("/")[0] in FAMILIES]
    table, missing = task_table(name for name in sorted(TASKS) if name not in external)
    Console(width=max(180, Console().width)).print(table)
    for reason in missing.values():
        print(reason)
    for line in problems:
        print(line)
    added = [f"{name} ({path.split(':')[0]})" for name, path in ALGOS.items() if not path.startswith("harl_isaac.")]
    if added:
        print(f"algorithms from outside: {', '.join(added)}")
    guides = ", ".join(map(source_file, ("docs/isaacgym.md", "docs/isaaclab.md")))
    print(f"with simulators of your own ({guides}): {', '.join(external)}, or any other of theirs")


def task_table(names: Iterable[str]) -> Tuple[Table, Dict[str, str]]:
    """A row for each task, and for each family without its simulator the reason (that of its first task)."""
    table = Table("task", "agents", "observations", "actions", "state", "episode", "engines", box=None)
    for column in table.columns:
        column.no_wrap = True
    missing: Dict[str, str] = {}
    for name in names:
        try:
            env = default_settings(TASKS, name).make(1, torch.device("cpu"), "auto")
        except FAILURES as error:
            table.add_row(name, "not available here")
            known = isinstance(error, (ImportError, ValueError))
            missing.setdefault(name.split("/")[0], str(error) if known else f"{name}: {describe(error)}")
            continue
        add_task(table, name, env)
        env.close()
    return table, missing


def add_task(table: Table, name: str, env: MultiAgentEnv) -> None:
    """Append the row of a task, described by an environment of it."""
    spec = env.spec
    table.add_row(
        name,
        summarize(spec.agents, ", "),
        summarize((str(size) for size in spec.obs_sizes), " "),
        summarize((describe_space(space) for space in spec.actions), " "),
        str(spec.state_size),
        f"{spec.max_episode_steps} steps",
        engines(env),
    )


def summarize(words: Iterable[str], separator: str) -> str:
    """All words; of more than three the first and the last, or their number if all are the same."""
    words = list(words)
    if len(words) <= 3:
        return separator.join(words)
    if len(set(words)) == 1:
        return f"{len(words)} x {words[0]}"
    return f"{words[0]} ... {words[-1]}"


def describe_space(space: Space) -> str:
    """Short form of an action space, such as Box(20)."""
    if isinstance(space, Box):
        return f"Box({space.size})"
    if isinstance(space, Discrete):
        return f"Discrete({space.n})"
    return f"MultiDiscrete({', '.join(str(n) for n in space.nvec)})"


def engines(env: MultiAgentEnv) -> str:
    """Names of the engines that can step the environment's task."""
    if hasattr(env, "physics"):
        return "mujoco, mujoco_warp"
    return "worker processes" if hasattr(env, "workers") else "torch"
