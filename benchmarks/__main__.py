"""Cost of collection, update and training beside the arithmetic that they cannot avoid.

python -m benchmarks [step|collect|update|train|hands|table3|off_policy|workers|peers] [key=value ...]

    step      one environment step (actions to observation, reward, reset) beside bare engine stepping of the same model
              from the same states with the same controls (of a task that is tensors alone: its own steps/s)
    collect   the whole collection loop, with policy and storage, beside the same
    update    one learner update beside a bare forward, backward and Adam loop over networks of the same sizes
    train     whole iterations: steps/s of collection and in all, peak memory
    hands     steps of every two-hand task beside those of ShadowHandOver
    table3    Table 3 of the paper: time of an experiment and of the agents' updates, HAPPO and shared MAPPO
    off_policy   sampling a replay of a million beside one of ten thousand; updates of HADDPG, HATD3, HASAC beside bare
              loops
    workers   environments of a millisecond a step in worker processes, beside the bare loop in the same processes
    peers     whole iterations beside those of rl_games, if it is installed: same task, networks, epochs and batches

Both sides of a ratio take turns of a few steps within one run: `ratio` is of wall time, `cpu_ratio` of processor time,
each summed over a repeat; printed are medians over repeats [lowest, highest].

Keys: what=all (the first four), experiment (task, algorithm and numbers of an experiment, such as
mamujoco/HalfCheetah-2x3/happo), or task=ShadowHandOver, algo=happo, rollout_length=75; num_envs=256,1024, repeats=5,
device=auto, sim=auto, json (a file for the figures).
"""

import json
import os
from itertools import chain
from pathlib import Path
from typing import Any, Callable, Dict, Iterator

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in harl_isaac/cli/train.py, before torch starts threads

import torch

from benchmarks.clock import Clock, Figures, show
from benchmarks.collect import collect_ratio
from benchmarks.hands import hands
from benchmarks.off_policy import off_policy
from benchmarks.peers import peers
from benchmarks.step import step_ratio
from benchmarks.subject import Subject, compose_run
from benchmarks.table3 import table3
from benchmarks.train import training_speed
from benchmarks.update import update_ratio
from benchmarks.workers import worker_cost
from harl_isaac.cli.arguments import read_arguments
from harl_isaac.cli.entry import run_script
from harl_isaac.devices import choose_device
from harl_isaac.runtime import keep_freed_memory
from harl_isaac.training.run_folder import versions

DEFAULTS = {
    "what": "all",
    "experiment": None,
    "task": "ShadowHandOver",
    "algo": "happo",
    "num_envs": None,
    "rollout_length": 75,
    "repeats": 5,
    "device": "auto",
    "sim": "auto",
    "json": None,
}
MEASUREMENTS: Dict[str, Callable[[Subject, int], Figures]] = {
    "step": step_ratio,
    "collect": collect_ratio,
    "update": update_ratio,
    "train": training_speed,
}
STUDIES = ("hands", "table3", "off_policy", "workers", "peers")  # choose their own tasks and sizes

Result = Dict[str, Any]


def main() -> None:
    """Measure what was asked for, print the figures as they come, write them to `json`."""
    keep_freed_memory()  # as training does
    args = read_arguments(__doc__, DEFAULTS, first="what")
    device = choose_device(args["device"])
    results = list(study(args, device) if args["what"] in STUDIES else measure(args, device))
    if args["json"]:
        report = {"settings": args, "threads": torch.get_num_threads(), "device": str(device), **versions()}
        Path(args["json"]).write_text(json.dumps({**report, "results": results}, indent=2))


def measure(args: Dict[str, Any], device: torch.device) -> Iterator[Result]:
    """The figures of one or all measurements of a task and an algorithm. Raises ValueError for an unknown one."""
    what = args["what"]
    if what not in ("all", *MEASUREMENTS):
        raise ValueError(f"what={what}; possible: {', '.join(('all', *MEASUREMENTS, *STUDIES))}")
    run = compose_run(args)
    subject = Subject(run.task, run.algo, device, args["sim"], args["repeats"])
    sizes = args["num_envs"] or (str(run.num_envs) if args["experiment"] else "256,1024")
    for name in MEASUREMENTS if what == "all" else [what]:
        for num_envs in map(int, sizes.split(",")):
            figures = MEASUREMENTS[name](subject, num_envs)
            show(name, num_envs, figures)
            yield {"what": name, "num_envs": num_envs, **figures}


def study(args: Dict[str, Any], device: torch.device) -> Iterator[Result]:
    """The figures of one of STUDIES."""
    clock = Clock(device)
    repeats = args["repeats"]
    if args["what"] == "hands":
        sizes = map(int, (args["num_envs"] or "256").split(","))
        return chain.from_iterable(hands(clock, args["sim"], size, repeats) for size in sizes)
    if args["what"] == "table3":
        return table3(clock, args["sim"], repeats)
    if args["what"] == "off_policy":
        return off_policy(clock, repeats)
    if args["what"] == "peers":
        return peers(clock, args["sim"], repeats)
    return worker_cost(repeats)


if __name__ == "__main__":
    run_script(main)
