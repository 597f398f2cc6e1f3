"""harl-evaluate <run folder> episodes=320: play full episodes with a run's deterministic policy and print return and
success rate with 95 % intervals.

Keys: run (the first word: a run folder, which means its best checkpoint, a checkpoint or a policy file, or `last`, the
newest run below run_root=runs) or policy (a policy file, or the name of one that comes with the package), episodes=320,
num_envs=64, seed=0, device=auto, sim=auto, json (a file for the results), trust=false (true: the run may use code of
other packages), modules=[...] (of one's own, with the run's task or algorithm: names or files).
"""

import json
from pathlib import Path

from harl_isaac.cli.arguments import check_amounts, named_file, read_arguments
from harl_isaac.cli.modules import load_modules
from harl_isaac.outputs import write_text
from harl_isaac.training import policy_file
from harl_isaac.training.evaluation import Evaluation, evaluate_policy
from harl_isaac.training.load_policy import load_policy

DEFAULTS = {
    "run": None,
    "run_root": "runs",
    "policy": None,
    "episodes": 320,
    "num_envs": 64,
    "seed": 0,
    "device": "auto",
    "sim": "auto",
    "json": None,
    "trust": False,
    "modules": None,
}


def main() -> None:
    """Evaluate the run named on the command line; print the intervals, and write them to `json` if given."""
    args = read_arguments(__doc__, DEFAULTS, first="run")
    check_amounts(args)
    json_file = None if args["json"] is None else named_file(args, "json")
    load_modules(args["modules"])
    num_envs = min(args["num_envs"], args["episodes"])
    run = policy_file.chosen(args["run"], args["policy"])
    env, actors, checkpoint = load_policy(run, num_envs, args["device"], args["sim"], args["trust"])
    result = evaluate_policy(env, actors, args["episodes"], args["seed"])
    report(result, checkpoint)
    if json_file:
        content = {"episodes": result.episodes, "checkpoint": str(checkpoint), "intervals": result.intervals()}
        write_text(json_file, json.dumps(content, indent=2))


def report(result: Evaluation, checkpoint: Path) -> None:
    """Print the mean and the interval of each value."""
    print(f"{checkpoint}: {result.episodes} episodes, deterministic policy, 95 % intervals")
    for name, (mean, low, high) in result.intervals().items():
        print(f"  {name:<10} {mean:8.3f}  [{low:.3f}, {high:.3f}]")
