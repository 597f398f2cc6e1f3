"""Studies whose points cost nothing: run folders written by hand, and processes that write them."""

import json
import sys
from pathlib import Path

from harl_isaac.studies.index import INDEX, Key, Study

HEADER = "iteration,steps,episode/count,episode/return,episode/success,time/steps_per_second"
VERSIONS = {"python": "3.11.9", "platform": "Linux-6.1", "packages": {"harl-isaac": "0.1.0", "torch": "2.13.0"}}
PROGRAM = """
import sys, time
sys.path[:0] = {path!r}
from pathlib import Path
from support.study_runs import write_run
words = dict(word.split("=", 1) for word in sys.argv[1:])
time.sleep(0.3)
if {failing!r} in sys.argv:
    raise ValueError("impossible")
write_run(Path(words["run_root"]) / words["task"] / words["algo"] / f"now-seed{{words['seed']}}", [1.0, 2.0], step=20)
"""


def statuses(folder):
    """The states of a study's points, as its index has them."""
    return [point["status"] for point in json.loads((folder / INDEX).read_text())["points"]]


def fake_command(given, failing=""):
    """A Command whose process writes a run of 40 steps, or raises where `failing` is among its words."""
    program = PROGRAM.format(path=[str(Path(__file__).parents[1]), str(Path(__file__).parents[2])], failing=failing)

    def command(words, cores):
        given.append((words, cores))
        return [sys.executable, "-c", program, *words]

    return command


def write_run(folder, returns, step=1000, task="SumGame", algo="happo", seed=1, evaluated=True, lr=0.1):
    """A run folder of an iteration for each return, with an evaluation after each."""
    folder.mkdir(parents=True)
    rows = [f"{i + 1},{step * (i + 1)},2,{value},{min(1.0, abs(value) / 10)},500" for i, value in enumerate(returns)]
    (folder / "metrics.csv").write_text("\n".join([HEADER, *rows]) + "\n")
    if evaluated:
        rows = [f"{i + 1},{step * (i + 1)},{value + 1},5" for i, value in enumerate(returns)]
        (folder / "eval.csv").write_text("\n".join(["iteration,steps,return,length", *rows]) + "\n")
    settings = f"task:\n  name: {task}\nalgo:\n  name: {algo}\n  lr: {lr}\nseed: {seed}\nnum_envs: 4\n"
    (folder / "config.yaml").write_text(settings)
    (folder / "versions.json").write_text(json.dumps(VERSIONS))
    return folder


def write_study(folder, scores):
    """A study of runs of three iterations; `scores` is {(task, algo): [last return of seed 1, of seed 2, ...]}."""
    study = Study(folder, ["num_envs=4"])
    for (task, algo), values in scores.items():
        for seed, value in enumerate(values, 1):
            study.add([Key(task, algo, seed)])
            path = folder / "runs" / task / algo / f"20260101-120000-seed{seed}"
            write_run(
                path, [0.0, value / 2, value], task=task, algo=algo, seed=seed, lr=0.1 if algo == "happo" else 0.2
            )
            study.points[-1].status = "finished"
            study.points[-1].folder = str(path.relative_to(folder))
    study.save()
    return folder
