"""The commands: what they are called, what they do, which module of this folder does it. Imports nothing heavy."""

import ast
from pathlib import Path
from typing import Dict, NamedTuple

FOLDER = Path(__file__).resolve().parent
HELP = {"-h", "--help"}
LAST = "last"  # in place of a run folder: the newest


class Command(NamedTuple):
    """One of the commands, `harl-<name>` or `python -m harl_isaac <name>`."""

    module: str
    summary: str


COMMANDS: Dict[str, Command] = {
    "train": Command("train", "train new policies, or resume a run"),
    "evaluate": Command("evaluate", "play whole episodes: return and success with intervals"),
    "play": Command("play", "show a policy in a viewer, a video or a row of pictures"),
    "list": Command("list_tasks", "every task with its agents, widths and engines"),
    "export": Command("export", "policies as files: ONNX, TorchScript, torch.export, or for playing"),
    "plot": Command("plot", "learning curves of runs"),
    "table": Command("table", "what runs had reached at given steps"),
    "study": Command("study", "tasks x algorithms x seeds: several at once, resumable"),
    "report": Command("report", "one HTML page of runs or a study"),
    "archive": Command("archive", "a small copy of a study: its index and thinned curves"),
    "theory": Command("theory", "the paper's examples and Theorem 7, exactly"),
    "draw": Command("draw_tasks", "pictures of the tasks' starts"),
}


def usage(name: str) -> str:
    """Usage of a command, read from its module's file without importing it."""
    if name == "train":
        from harl_isaac.cli.help import help_text

        return help_text()
    source = (FOLDER / f"{COMMANDS[name].module}.py").read_text(encoding="utf-8")
    return (ast.get_docstring(ast.parse(source)) or "").strip()


def overview() -> str:
    """All commands, one a line."""
    lines = ["Usage: python -m harl_isaac <command> ... (harl-<command> is the same; --help tells more)", ""]
    return "\n".join(lines + [f"  {name:<10} {command.summary}" for name, command in COMMANDS.items()])


def newest_run(run_root: str) -> Path:
    """The run folder below `run_root` whose checkpoint is the newest. Raises ValueError if there is none."""
    found = list(Path(run_root).glob("**/checkpoints/latest.pt"))
    if not found:
        raise ValueError(f"{LAST}: no run with a checkpoint below {run_root}; give a run folder, or run_root=<folder>")
    return max(found, key=lambda file: file.stat().st_mtime).parent.parent
