"""Settings as the real one reads them: from sys.argv and from files beside the working folder."""

import argparse
import os
import sys
from types import SimpleNamespace

import yaml


def get_args(benchmark=False, use_rlg_config=False, task_name="", algo=""):
    parser = argparse.ArgumentParser()
    for name in ("sim_device", "rl_device", "pipeline", "task", "algo"):
        parser.add_argument("--" + name, default="cuda:0")
    for name in ("num_envs", "episode_length"):
        parser.add_argument("--" + name, type=int, default=0)
    parser.add_argument("--headless", action="store_true")
    args = parser.parse_args(sys.argv[1:])
    kind, _, number = args.sim_device.partition(":")
    args.device = kind if args.pipeline == "gpu" else "cpu"
    args.device_id = int(number or 0)
    args.task = task_name or args.task
    args.task_type = "Python"
    args.cfg_env = f"cfg/{args.task}.yaml"
    args.cfg_train = f"cfg/{algo or args.algo}/config.yaml"
    return args


def load_cfg(args, use_rlg_config=False):
    found = []
    for name in (args.cfg_train, args.cfg_env):
        with open(os.path.join(os.getcwd(), name)) as file:
            found.append(yaml.safe_load(file))
    training, values = found
    if args.num_envs > 0:
        values["env"]["numEnvs"] = args.num_envs
    if args.episode_length > 0:
        values["env"]["episodeLength"] = args.episode_length
    values["headless"] = args.headless
    return values, training, "logs"


def parse_sim_params(args, cfg, cfg_train):
    return SimpleNamespace(dt=1 / 60, **cfg["sim"])
