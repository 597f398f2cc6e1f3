"""python scripts/evaluate.py run=<run folder> episodes=320: play full episodes with a run's deterministic policy and print
return and success rate with 95 % intervals.

Keys: run (a run folder, which means its best checkpoint, or a checkpoint file), episodes=320, num_envs=64, seed=0,
device=auto, sim=auto, json (a file for the results).
"""

import json

from harl_isaac.cli.script import read_arguments
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.load_policy import load_policy

DEFAULTS = {"run": None, "episodes": 320, "num_envs": 64, "seed": 0, "device": "auto", "sim": "auto", "json": None}


def main() -> None:
    args = read_arguments(__doc__, DEFAULTS)
    env, actors, checkpoint = load_policy(
        args["run"], min(args["num_envs"], args["episodes"]), args["device"], args["sim"]
    )
    result = evaluate_policy(env, actors, args["episodes"], args["seed"])
    intervals = result.intervals()
    count = len(result.values["return"])
    print(f"{checkpoint}: {count} episodes, deterministic policy, 95 % intervals")
    for name, (mean, low, high) in intervals.items():
        print(f"  {name:<10} {mean:8.3f}  [{low:.3f}, {high:.3f}]")
    if args["json"]:
        with open(args["json"], "w") as file:
            json.dump({"episodes": count, "checkpoint": str(checkpoint), "intervals": intervals}, file, indent=2)
