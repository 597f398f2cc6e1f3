"""Key=value arguments of the scripts."""

import sys
from itertools import takewhile
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

from harl_isaac.cli.commands import HELP, LAST, newest_run
from harl_isaac.outputs import check_writable
from harl_isaac.settings import MOST_REPEATS, check_seed


def read_arguments(usage: str, defaults: Dict[str, Any], first: Optional[str] = None) -> Dict[str, Any]:
    """Read key=value words from the command line over `defaults`, whose types they take.

    First words without "=" are the value of the key `first`, several joined by commas; `run=last` is the newest run
    folder below run_root. --help prints `usage` and exits. Raises ValueError for an unknown key or a value of another
    type.
    """
    words = sys.argv[1:]
    if HELP & set(words):
        print(usage.strip())
        sys.exit(0)
    plain = list(takewhile(lambda word: "=" not in word, words))
    if first is not None and plain:
        words[: len(plain)] = [f"{first}={','.join(plain)}"]
    values = dict(defaults)
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in defaults:
            possible = ", ".join(f"{name}=..." for name in defaults)
            raise ValueError(f"{word} is unknown; possible: {possible}")
        values[key] = _converted(key, text, defaults[key])
    if values.get("run") == LAST:
        values["run"] = str(newest_run(values.get("run_root") or "runs"))
    return values


def check_amounts(args: Dict[str, Any]) -> None:
    """Raise ValueError for amounts and seeds among the arguments with which nothing can be played."""
    amounts = [name for name in ("episodes", "num_envs") if name in args]
    check_numbers(args, **dict.fromkeys(amounts, (1, MOST_REPEATS)))
    check_seed(args["seed"])


def check_numbers(args: Dict[str, Any], **bounds: Tuple[float, float]) -> None:
    """Raise ValueError for arguments that are no number within their bounds (lowest, highest)."""
    for name, (low, high) in bounds.items():
        if not low <= args[name] <= high:
            raise ValueError(f"{name}={args[name]} must be within {low:.7g} and {high:.7g}")


def check_choice(key: str, given: str, possible: List[str]) -> None:
    """Raise ValueError for a value that is none of those possible."""
    if given not in possible:
        raise ValueError(f"{key}={given}; possible: {', '.join(possible)}")


def named_file(args: Dict[str, Any], key: str) -> Path:
    """The file that an argument names to be written. Raises ValueError where it cannot be."""
    file = Path(args[key])
    check_writable(file, key)
    return file


def _converted(key: str, text: str, default: Any) -> Any:
    """`text` in the type of the default; a default of None stands for a string."""
    kind = str if default is None else type(default)
    if kind is bool:
        if text.lower() not in ("true", "false"):
            raise ValueError(f"{key}={text}; possible: true, false")
        return text.lower() == "true"
    try:
        return kind(text)
    except ValueError:
        raise ValueError(f"{key}={text} is not a {kind.__name__}") from None
