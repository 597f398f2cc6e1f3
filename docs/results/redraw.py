"""Draw the pictures and tables of the result pages again from docs/results/data.

python docs/results/redraw.py, in the repository's root. The pages say how: each indented line `harl-plot study=...`
draws a picture into docs/results/, each `harl-table study=...` prints the table below it, which is replaced.
"""

import io
import shlex
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Callable, Dict, Iterator, List, NamedTuple, Tuple

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))  # this checkout, whatever is installed

from harl_isaac.cli import plot, table
from harl_isaac.cli.entry import run_script
from harl_isaac.outputs import write_text

PAGES = Path("docs/results")
INDENT = "    "
COMMANDS: Dict[str, Callable[[], None]] = {"harl-plot": plot.main, "harl-table": table.main}


class Command(NamedTuple):
    """A command on a page, from line `start` to before line `end`."""

    words: List[str]
    start: int
    end: int


def main() -> None:
    """Draw all pages again. Raises ValueError where the folder has no pages, or a command of theirs is wrong."""
    pages = sorted(PAGES.glob("*.md"))
    if not pages:
        raise ValueError(f"no page in {PAGES}; run this in the repository's root")
    for page in pages:
        text = page.read_text(encoding="utf-8")
        try:
            fresh = redrawn(text)
        except ValueError as error:
            raise ValueError(f"{page}: {error}") from None
        if fresh != text:
            write_text(page, fresh)
            print(f"{page} has new tables")


def redrawn(text: str) -> str:
    """A page with its tables as the commands print them now; its pictures are drawn into their files."""
    lines = text.splitlines()
    for command in reversed(list(commands(lines))):
        output = printed(command.words)
        if command.words[0] == "harl-table":
            first, last = table_below(lines, command.end)
            lines[first:last] = output.splitlines()
        else:
            print(output, end="")
    return "\n".join(lines) + "\n"


def commands(lines: List[str]) -> Iterator[Command]:
    """The commands on a page that read docs/results/data; a line that ends with a backslash goes on in the next."""
    start = 0
    while start < len(lines):
        end = start + 1
        while lines[end - 1].endswith("\\") and end < len(lines):
            end += 1
        text = " ".join(line.rstrip("\\").strip() for line in lines[start:end])
        if lines[start].startswith(INDENT) and text.split(" ")[0] in COMMANDS and f"={PAGES}/data" in text:
            yield Command(shlex.split(text), start, end)
        start = end


def table_below(lines: List[str], line: int) -> Tuple[int, int]:
    """The first and last line (exclusive) of the table that follows. Raises ValueError where there is none."""
    first = line
    while first < len(lines) and not lines[first].strip():
        first += 1
    last = first
    while last < len(lines) and lines[last].startswith("|"):
        last += 1
    if last == first:
        raise ValueError(f"no table below {lines[line - 1].strip()}; begin one with a line of |")
    return first, last


def printed(words: List[str]) -> str:
    """What a command prints. Raises ValueError as it does."""
    before = sys.argv
    sys.argv = words
    try:
        with redirect_stdout(io.StringIO()) as output:
            COMMANDS[words[0]]()
    finally:
        sys.argv = before
    return output.getvalue()


if __name__ == "__main__":
    run_script(main)
