"""harl-export <run folder> format=onnx out=<folder>: write a trained policy as files that run without this package.

Keys: run (the first word: a run folder, which means its best checkpoint, a checkpoint or a policy file, or `last`,
the newest run below run_root=runs) or policy (a policy file, or the name of one that comes with the package),
format=policy (policy: one file with the policies alone, to play and to evaluate; onnx, torchscript, torch_export: a
file for each agent from raw observations to actions, and policy.json), out (a file *.policy, else a folder; default:
named after task and algorithm, here), agents (all; or some, as agents=left,right), distribution=false (true: also the
distribution's parameters), seed=0, device=cpu, sim=auto (of the environment in which observations are recorded),
trust=false (true: the run may use code of other packages), modules=[...] (of one's own, with the run's task or
algorithm: names or files).

Every file is run beside the trained policy, on random and on recorded observations; the largest difference is printed,
and nothing stays that differs by more than 1e-5.
"""

from dataclasses import replace
from pathlib import Path
from typing import Any, Dict, List, Optional

import torch

from harl_isaac.cli.arguments import read_arguments
from harl_isaac.cli.modules import load_modules
from harl_isaac.devices import choose_device
from harl_isaac.env import EnvSpec, MissingSimulator, MultiAgentEnv
from harl_isaac.export.comparison import RANDOM_ROWS, Sample, random_sample, recorded_sample
from harl_isaac.export.folder import DESCRIPTION, ExportedFile, agent_policies, export, step_seconds, write_description
from harl_isaac.export.formats import check_available
from harl_isaac.training import policy_file
from harl_isaac.training.load_policy import SavedPolicy, saved_policy
from harl_isaac.training.run_folder import versions
from harl_isaac.training.saved_spec import saved_spec

DEFAULTS = {
    "run": None,
    "run_root": "runs",
    "policy": None,
    "format": "policy",
    "out": None,
    "agents": None,
    "distribution": False,
    "seed": 0,
    "device": "cpu",
    "sim": "auto",
    "trust": False,
    "modules": None,
}
POLICY = "policy"  # the format that this package itself reads
RECORDED_ENVS = 4
CPU = torch.device("cpu")


def main() -> None:
    """Write the policy named on the command line. Raises ValueError."""
    args = read_arguments(__doc__, DEFAULTS, first="run")
    load_modules(args["modules"])
    form = None if args["format"] == POLICY else check_available(args["format"])
    saved = saved_policy(policy_file.chosen(args["run"], args["policy"]), args["trust"])
    out = Path(args["out"] or default_out(saved, args["format"]))
    if form is None:
        write_policy(saved, args, out)
    else:
        write_files(saved, args, out)


def default_out(saved: SavedPolicy, form: str) -> str:
    """A name here, after task and algorithm."""
    name = f"{saved.task.name.replace('/', '-')}-{saved.algo.name}"
    return name + policy_file.SUFFIX if form == POLICY else f"{name}-{form}"


def write_policy(saved: SavedPolicy, args: Dict[str, Any], out: Path) -> None:
    """Write a policy file, and say how much smaller it is."""
    if args["agents"] or args["distribution"]:
        raise ValueError("format=policy holds all agents whole: leave agents= and distribution= out")
    spec = known_spec(saved)
    if spec is None:
        env = saved.task.make(1, choose_device(args["device"]), args["sim"])
        spec = env.spec
        env.close()
    saved.actors(replace(spec, num_envs=1, device=CPU))  # fits, and is finite
    policy_file.save(out, policy_file.policy_state(saved.state, saved.task, saved.algo, spec))
    print(f"{out}: {kilobytes(out)} of {kilobytes(saved.file)} in {saved.file}")


def kilobytes(file: Path) -> str:
    """A file's size."""
    return f"{file.stat().st_size / 1000:.1f} kB"


def write_files(saved: SavedPolicy, args: Dict[str, Any], out: Path) -> None:
    """Write and check a file for each agent, and policy.json."""
    if out.exists() and not out.is_dir():
        raise ValueError(f"out={out} is a file: give a folder")
    form = check_available(args["format"])
    env = recording_env(saved, args)
    spec = env.spec if env is not None else known_spec(saved)
    assert spec is not None
    spec = replace(spec, num_envs=1, device=CPU)
    actors = saved.actors(spec)
    names = args["agents"].split(",") if args["agents"] else []
    policies = agent_policies(actors, spec, names, args["distribution"])
    samples = [random_sample(spec, actors, RANDOM_ROWS, args["seed"])]
    if env is not None:
        samples.append(recorded_sample(env, saved.actors(env.spec), args["seed"]))
        env.close()
    files = export(actors, spec, policies, form, samples, out)
    write_description(out, files, about(saved, args, env))
    report(out, files, samples)


def known_spec(saved: SavedPolicy) -> Optional[EnvSpec]:
    """The environment's spec where the file holds it."""
    return saved_spec(saved.state, saved.file, 1, CPU) if "spec" in saved.state else None


def recording_env(saved: SavedPolicy, args: Dict[str, Any]) -> Optional[MultiAgentEnv]:
    """The run's environment; None where its simulator is missing and can be done without."""
    try:
        return saved.task.make(RECORDED_ENVS, choose_device(args["device"]), args["sim"])
    except MissingSimulator as error:
        if "spec" not in saved.state:
            raise
        print(f"checked on random observations alone: {error}")
        return None


def about(saved: SavedPolicy, args: Dict[str, Any], env: Optional[MultiAgentEnv]) -> Dict[str, Any]:
    """The origin of the files."""
    return {
        "task": saved.task.name,
        "algo": saved.algo.name,
        "format": args["format"],
        "source": str(saved.file),
        "steps": saved.state.get("counters", {}).get("steps"),
        "step_seconds": step_seconds(env),
        "versions": versions(),
    }


def report(out: Path, files: List[ExportedFile], samples: List[Sample]) -> None:
    """Print a line for each file, and the largest difference of all."""
    rows = " and ".join(f"{len(sample.obs[0])} {kind}" for sample, kind in zip(samples, ("random", "recorded")))
    for each in files:
        print(f"  {each.file:<24} {kilobytes(out / each.file):>10}  largest difference {each.difference:.2g}")
    largest = max(each.difference for each in files)
    print(f"{out}: {len(files)} files and {DESCRIPTION}; largest difference {largest:.2g} on {rows} observations")
