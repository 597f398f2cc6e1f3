"""One owner for a run folder: a lock that ends with the process that holds it.

filelock takes the operating system's lock of a file (flock), which a dead process does not hold; on network file
systems it holds across machines as far as the file system's own locks do.
"""

import os
import socket
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Iterator

from filelock import FileLock, Timeout

LOCK = "run.lock"
OWNER = "run.owner"  # who holds the lock, for the message


@contextmanager
def owned(folder: Path) -> Iterator[None]:
    """Hold the run folder while it is trained. Raises ValueError where another process does."""
    lock = FileLock(str(folder / LOCK))
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise ValueError(
            f"{folder} is being trained by {_owner(folder)}; wait for it or stop it, or start a new run"
        ) from None
    try:
        with suppress(OSError):
            (folder / OWNER).write_text(f"process {os.getpid()} on {socket.gethostname()}\n")
        yield
    finally:
        with suppress(OSError):  # the folder may be gone
            (folder / OWNER).unlink()
        lock.release()


def _owner(folder: Path) -> str:
    try:
        return (folder / OWNER).read_text().strip() or "another process"
    except OSError:
        return "another process"
