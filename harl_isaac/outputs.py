"""Files that a user names to be written, checked before anything is computed for them."""

import os
from pathlib import Path


def check_writable(file: Path, key: str = "out") -> None:
    """Raise ValueError for the value of `key`, if it names no file, or one that cannot be written."""
    folder = file.absolute().parent
    if not file.name:
        raise ValueError(f"{key}={file} names no file")
    if not folder.is_dir():
        raise ValueError(f"{key}={file}: there is no folder {folder}")
    if file.is_dir() or not os.access(file if file.exists() else folder, os.W_OK):
        raise ValueError(f"{key}={file}: cannot be written; give a file in a folder of yours")
