"""Commands in processes of their own, which a server that has imported torch already forks: `python script words` without
the seconds of its imports."""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

ROOT = Path(__file__).resolve().parent.parent
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "hydra", "numpy"])


def run_command(script: str, *words: str, cwd: Path, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
    """`python script words` in `cwd` with `env` above this process's environment; `script` is a path from the root.

    Raises subprocess.TimeoutExpired.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        process = FORKS.Process(target=_script, args=(str(ROOT / script), words, str(cwd), {**os.environ, **env}, outputs))
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([script, *words], timeout)
        return subprocess.CompletedProcess([script, *words], process.exitcode, *[Path(name).read_text() for name in outputs])


def _script(script: str, words: List[str], cwd: str, env: Dict[str, str], outputs: List[str]) -> None:
    """In the new process."""
    for descriptor, name in zip((1, 2), outputs):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [script, *words]
    sys.path = [str(Path(script).parent)] + [path for path in sys.path if Path(path) != ROOT / "tests"]
    runpy.run_path(script, run_name="__main__")
