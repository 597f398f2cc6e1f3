"""Trained policies for use outside of training: loading them, and the scripts' key=value arguments."""

import sys
from pathlib import Path
from typing import Any, Callable, Dict, Optional

from harl_isaac.env import SimulatorError


def read_arguments(usage: str, defaults: Dict[str, Any], first: Optional[str] = None) -> Dict[str, Any]:
    """key=value words from the command line over defaults, typed as those. Raises ValueError for an unknown key.

    A first word without "=" is the value of the key `first`.
    """
    if any(word in ("-h", "--help") for word in sys.argv[1:]):
        print(usage.strip())
        sys.exit(0)
    values = dict(defaults)
    words = sys.argv[1:]
    if first is not None and words and "=" not in words[0]:
        words[0] = f"{first}={words[0]}"
    for word in words:
        key, equals, text = word.partition("=")
        if not equals or key not in defaults:
            raise ValueError("{} is unknown; possible: {}".format(word, ", ".join(f"{name}=..." for name in defaults)))
        kind = type(defaults[key]) if defaults[key] is not None else str
        try:
            values[key] = kind(text)
        except ValueError:
            raise ValueError(f"{key}={text} is not a {kind.__name__}") from None
    return values


def run_script(main: Callable[[], None]) -> None:
    """Run a script's main; a mistake of the user's is one line on stderr and exit code 2, a simulator's crash its account and 1."""
    try:
        main()
    except (ValueError, OSError, SimulatorError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(1 if isinstance(error, SimulatorError) else 2)
