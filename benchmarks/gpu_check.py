"""Everything that needs a CUDA device: engines agree, no host synchronization in an iteration, speed, a training run.

Started by scripts/gpu_check.sh. Keys: parts=all (or some of engines, sync, untrained, training, trained, in calls of
their own: the results so far in `out` stay), minutes=5 (of training), num_envs=256,1024,2048,4096,8192,
train_envs=2048, out=gpu_check (a folder, where compiled kernels are kept too), device=cuda.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any, Dict, List, Optional, Tuple

import torch

from benchmarks.clock import Clock
from harl_isaac.algos import ALGOS
from harl_isaac.algos.happo import HappoCfg
from harl_isaac.cli.arguments import read_arguments
from harl_isaac.cli.entry import run_script
from harl_isaac.devices import own_device
from harl_isaac.learning.learner import AlgoCfg
from harl_isaac.registry import import_object
from harl_isaac.settings import TaskCfg
from harl_isaac.tasks import TASKS
from harl_isaac.tasks.hands.over import ShadowHandOverCfg
from harl_isaac.training.episode_stats import EpisodeStats
from harl_isaac.training.evaluation import evaluate_policy
from harl_isaac.training.run_folder import versions

DEFAULTS = {
    "parts": "all",
    "minutes": 5.0,
    "num_envs": "256,1024,2048,4096,8192",
    "train_envs": 2048,
    "out": "gpu_check",
    "device": "cuda",
}
CASES: Tuple[Tuple[str, str, Dict[str, Any]], ...] = (
    ("ShadowHandOver", "happo", {}),
    ("ShadowHandOver", "hatrpo", {}),
    ("ShadowHandOver", "ippo", {}),
    ("ShadowHandOver", "happo", {"recurrent": True, "chunk_length": 5}),
    ("mamujoco/HalfCheetah", "mappo", {"share_param": True}),
    ("mamujoco/Ant", "haa2c", {}),
    ("ShadowHandOver", "happo", {"minibatches": 4, "critic_minibatches": 4}),
    ("mamujoco/HalfCheetah", "hatd3", {"warmup_steps": 1280, "batch_size": 256, "train_interval": 5}),
    ("mamujoco/HalfCheetah", "hasac", {"warmup_steps": 1280, "batch_size": 256, "train_interval": 5}),
    ("mpe/simple_spread", "happo", {}),
)
PARTS = ("engines", "sync", "untrained", "training", "trained")
AGREEMENT_STEPS = 25  # control steps
AGREEMENT = 1e-3  # [m, rad] largest difference of positions allowed

Result = Dict[str, Any]


class Report:
    """Results so far, in a file and on the terminal; those of earlier parts stay."""

    def __init__(self, path: Path, head: Result):
        self.path = path
        earlier = json.loads(path.read_text()) if path.is_file() else {}
        self.content = {**earlier, **head}

    def add(self, name: str, result: Any) -> None:
        """Write the file anew with this result, and print it but for a learning curve."""
        self.content[name] = result
        self.path.write_text(json.dumps(self.content, indent=2))
        printed = result
        if isinstance(result, dict):
            printed = {key: value for key, value in result.items() if key != "curve"}
        print(name, json.dumps(printed), flush=True)


def main() -> None:
    """Run the parts; results go to gpu_check.json in the folder `out`."""
    args = read_arguments(__doc__, DEFAULTS)
    parts = chosen_parts(args["parts"])
    out = Path(args["out"])
    os.environ.setdefault("WARP_CACHE_PATH", str(out.resolve() / "kernels"))
    device = own_device(args["device"])
    if device.type != "cuda":
        raise ValueError(f"device={device}: this check is for CUDA devices")
    out.mkdir(parents=True, exist_ok=True)
    report = Report(out / "gpu_check.json", {"machine": driver(), "cuda": torch.version.cuda, **versions()})
    sizes = [int(word) for word in args["num_envs"].split(",")]
    policy = out / "actors.pt"
    for part in parts:
        if part == "engines":
            report.add("engines_agree", engines_agree(device))
        elif part == "sync":
            report.add("no_host_sync", no_host_sync(device))
        elif part == "untrained":
            report.add("untrained", [speed(None, size, device) for size in sizes])
        elif part == "training":
            result, actors = train(args["minutes"], args["train_envs"], device)
            torch.save(actors, policy)
            report.add("training", result)
        else:
            report.add("trained", [speed(trained_actors(policy), size, device) for size in sizes])


def chosen_parts(words: str) -> List[str]:
    """The parts to run, in their order. Raises ValueError for an unknown one."""
    given = list(PARTS) if words == "all" else words.split(",")
    unknown = [part for part in given if part not in PARTS]
    if unknown:
        raise ValueError(f"parts={words}: {', '.join(unknown)} is unknown; possible: all, {', '.join(PARTS)}")
    return [part for part in PARTS if part in given]


def trained_actors(file: Path) -> Dict[str, Any]:
    """The policies of the part `training`. Raises ValueError where it has not run."""
    if not file.is_file():
        raise ValueError(f"parts=trained needs {file}, which parts=training writes")
    return torch.load(file, weights_only=True)


def driver() -> str:
    """Name and driver version of the devices."""
    command = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    return subprocess.run(command, capture_output=True, text=True).stdout.strip()


def engines_agree(device: torch.device) -> Result:
    """The largest difference of qpos between MuJoCo on the CPU and MuJoCo Warp on the device, from equal starts."""
    cpu = ShadowHandOverCfg(object="ball").make(8, torch.device("cpu"), "mujoco")
    gpu = ShadowHandOverCfg(object="ball").make(8, device, "mujoco_warp")
    cpu.reset(0)
    gpu.reset(0)
    every = torch.ones(8, dtype=torch.bool)
    gpu.physics.set_state(every.to(device), cpu.physics.qpos.to(device), cpu.physics.qvel.to(device))
    generator = torch.Generator().manual_seed(0)
    for _ in range(AGREEMENT_STEPS):
        action = torch.rand(8, 40, generator=generator) * 2 - 1
        cpu.act(action)
        gpu.act(action.to(device))
        cpu.physics.step()
        gpu.physics.step()
    worst = float((cpu.physics.qpos - gpu.physics.qpos.cpu()).abs().max())
    return {"worst_difference": worst, "allowed": AGREEMENT, "passed": worst < AGREEMENT}


def no_host_sync(device: torch.device) -> Result:
    """The first case of CASES in which the host waits for the device, if there is one."""
    for task, algo, changed in CASES:
        result = iterates_alone(import_object(TASKS[task])(), import_object(ALGOS[algo])(**changed), device)
        if not result["passed"]:
            return {"task": task, "algo": algo, **changed, **result}
    return {"passed": True, "cases": len(CASES)}


def iterates_alone(task: TaskCfg, algo: AlgoCfg, device: torch.device, sim: str = "mujoco_warp") -> Result:
    """One whole iteration under torch's sync debug mode, which raises where the host waits for the device."""
    env = task.make(64, device, sim)
    learner = algo.learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    step = env.reset(0)
    while learner.steps_before_update:
        step, _ = learner.collect(env, step, stats)
    step, _ = learner.collect(env, step, stats)
    learner.update(0.0)
    torch.cuda.set_sync_debug_mode("error")
    try:
        learner.collect(env, step, stats)
        learner.update(0.0)
    except RuntimeError as error:
        return {"passed": False, "error": str(error)}
    finally:
        torch.cuda.set_sync_debug_mode("default")
    return {"passed": True}


def speed(actors: Optional[Dict[str, Any]], num_envs: int, device: torch.device, iterations: int = 3) -> Result:
    """Steps/s of collection and of whole iterations with a given policy (None: untrained), and memory of it all."""
    torch.cuda.empty_cache()
    free = torch.cuda.mem_get_info(device)[0]
    env = ShadowHandOverCfg().make(num_envs, device, "mujoco_warp")
    learner = HappoCfg().learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    clock = Clock(device)
    if actors is not None:
        learner.init_policies(actors)
    step = env.reset(0)
    collecting: List[float] = []
    total: List[float] = []
    for _ in range(iterations + 1):  # the first warms up
        begin = clock.now()
        step, _ = learner.collect(env, step, stats)
        collecting.append(clock.now() - begin)
        learner.update(0.0)
        total.append(clock.now() - begin)
    rows = num_envs * learner.rollout.length
    return {
        "num_envs": num_envs,
        "collect_steps_per_second": rows / sorted(collecting[1:])[iterations // 2],
        "steps_per_second": rows / sorted(total[1:])[iterations // 2],
        "device_memory_gib": (free - torch.cuda.mem_get_info(device)[0]) / 2**30,  # torch's, Warp's, the graphs'
    }


def train(minutes: float, num_envs: int, device: torch.device) -> Tuple[Result, Dict[str, Any]]:
    """A training run of the given length with the default settings; the curve, and the policies' state."""
    env = ShadowHandOverCfg().make(num_envs, device, "mujoco_warp")
    learner = HappoCfg().learner(env.spec, 1)
    stats = EpisodeStats(env.spec)
    step = env.reset(1)
    begin = time.monotonic()
    curve = []
    steps = 0
    while time.monotonic() - begin < 60.0 * minutes:
        step, length = learner.collect(env, step, stats)
        learner.update(0.0)
        steps += num_envs * length
        numbers = {name: float(value) for name, value in stats.drain().items()}
        curve.append({"steps": steps, "seconds": time.monotonic() - begin, **numbers})
    test = evaluate_policy(ShadowHandOverCfg().make(320, device, "mujoco_warp"), learner.actors, 320, 7)
    return {"curve": curve, "evaluation": test.intervals(), "steps": steps}, learner.actors.state_dict()


if __name__ == "__main__":
    run_script(main)
