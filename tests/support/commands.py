"""Commands in processes of their own, forked by a server that has imported torch: `python script words` without the
seconds of its imports.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Dict, List

import pytest

ROOT = Path(__file__).resolve().parents[2]
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["torch", "torch.utils.tensorboard", "hydra", "numpy", "matplotlib.pyplot", "scipy.stats"])
TINY = [
    "num_envs=4",
    "algo.rollout_length=3",
    "algo.hidden=[8]",
    "total_steps=24",
    "device=cpu",
    "eval.episodes=2",
    "eval.interval=1",
    "preset=none",  # its minibatches are too many for so few rows
]


def run_command(script: str, *words: str, cwd: Path, timeout: float = 240, **env: str) -> subprocess.CompletedProcess:
    """`python script words` in `cwd` with `env` above this process's environment; `script` is a path from the root.

    A PYTHONPATH in `env` is searched as Python would.

    Raises subprocess.TimeoutExpired.
    """
    with tempfile.TemporaryDirectory() as folder:
        outputs = [str(Path(folder) / name) for name in ("stdout", "stderr")]
        process = FORKS.Process(
            target=run_script_here, args=(str(ROOT / script), words, str(cwd), {**os.environ, **env}, outputs)
        )
        process.start()
        process.join(timeout)
        if process.exitcode is None:
            process.kill()
            raise subprocess.TimeoutExpired([script, *words], timeout)
        return subprocess.CompletedProcess(
            [script, *words], process.exitcode, *[Path(name).read_text() for name in outputs]
        )


def run(*words, cwd, script="train.py", **env):
    """Run a command; the test is skipped where the task needs MuJoCo and it is not installed."""
    result = run_command(script, *words, cwd=cwd, timeout=120, **env)
    if "needs MuJoCo" in result.stderr:
        pytest.skip(result.stderr.strip())
    return result


def is_for_tests(path: Path) -> bool:
    """Whether a folder is on the path for the tests alone."""
    return path == ROOT or ROOT / "tests" in (path, *path.parents)


def run_script_here(script: str, words: List[str], cwd: str, env: Dict[str, str], outputs: List[str]) -> None:
    """Run the script in the new process, whose stdout and stderr go to the files `outputs`."""
    for descriptor, name in zip((1, 2), outputs):
        os.dup2(os.open(name, os.O_WRONLY | os.O_CREAT), descriptor)
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    sys.argv = [script, *words]
    own = [path for path in env.get("PYTHONPATH", "").split(os.pathsep) if path]
    sys.path = [str(Path(script).parent), *own] + [path for path in sys.path if not is_for_tests(Path(path))]
    runpy.run_path(script, run_name="__main__")
