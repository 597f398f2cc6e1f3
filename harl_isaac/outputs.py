"""Files that are written: checked before anything is computed for them, and whole or not at all."""

import os
from pathlib import Path
from typing import IO, Any, Callable


def check_writable(file: Path, key: str = "out") -> None:
    """Raise ValueError for the value of `key`, if it names no file, or one that cannot be written."""
    folder = file.absolute().parent
    if not file.name:
        raise ValueError(f"{key}={file} names no file")
    if not folder.is_dir():
        raise ValueError(f"{key}={file}: there is no folder {folder}")
    if file.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise ValueError(f"{key}={file}: cannot be written; give a file in a folder of yours")


def write_atomically(path: Path, write: Callable[[IO[bytes]], Any]) -> None:
    """Let `write(file)` fill a file beside `path`, then move it to `path`; on any failure `path` stays as it was."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(path.name + ".partial")
    try:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        if partial.exists():
            partial.unlink()
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file as `write_atomically` does."""
    write_atomically(path, lambda file: file.write(text.encode()))
