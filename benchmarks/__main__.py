"""python scripts/benchmark.py [step|collect|update|train|table3|off_policy|workers]: what collection, update and training cost
beside the arithmetic that they cannot avoid.

    step      one environment step (actions to observation, reward, reset) beside bare engine stepping of the same model from
              the same states with the same controls (of a task that is tensors alone: its own steps/s)
    collect   the whole collection loop, with policy and storage, beside the same
    update    one learner update beside a bare forward, backward and Adam loop over networks of the same sizes
    train     whole iterations: steps/s of collection and in all, peak memory
    table3    Table 3 of the paper: time of an experiment and of the agents' updates, HAPPO and shared MAPPO
    off_policy   sampling a replay of a million beside one of ten thousand; updates of HADDPG, HATD3, HASAC beside bare loops
    workers   environments of a millisecond a step in worker processes, beside the bare loop in the same processes

Both sides of a ratio are timed in turn within one run; printed are medians over repeats [lowest, highest].

Keys: what=all (the first four), experiment (task, algorithm and numbers of an experiment, such as
mamujoco/HalfCheetah-2x3/happo), or task=ShadowHandOver, algo=happo, rollout_length=75; num_envs=256,1024, repeats=5,
device=auto, sim=auto, json (a file for the figures).
"""

import json
import os
import resource
from dataclasses import replace

os.environ.setdefault("OMP_WAIT_POLICY", "passive")  # as in harl_isaac/cli.py, before torch starts threads

import torch
from hydra import compose, initialize_config_module
from torch import nn

from benchmarks.clock import Clock, show, spread
from benchmarks.off_policy import off_policy
from benchmarks.table3 import table3
from benchmarks.workers import transport
from harl_isaac.acting import to_env
from harl_isaac.buffers.rollout import collect
from harl_isaac.cli.overrides import check_command_line
from harl_isaac.cli.script import read_arguments, run_script
from harl_isaac.config import register, to_run
from harl_isaac.devices import choose_device
from harl_isaac.env import Box, mask_width
from harl_isaac.runtime import keep_freed_memory
from harl_isaac.training.episode_stats import EpisodeStats
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
STEPS = 75  # environment steps in one repeat
BLOCK = 5  # of them in a row, before the other side has its turn


def random_actions(spec):
    """Actions of every agent: numbers within the bounds, choices."""

    def action(space):
        if isinstance(space, Box):
            return torch.rand(spec.num_envs, space.size, device=spec.device) * (space.high - space.low) + space.low
        nvec = torch.tensor(getattr(space, "nvec", (getattr(space, "n", 1),)), device=spec.device)
        return (torch.rand(spec.num_envs, len(nvec), device=spec.device) * nvec).long()

    return tuple(action(space) for space in spec.actions)


def bare_step(physics):
    """The engine alone. MuJoCo's batch is called below our tensors; MuJoCo Warp's views cost nothing."""
    if physics.name == "mujoco":
        physics.batch.step(None, physics.substeps)
    else:
        physics.step()


def set_controls(physics, controls) -> None:
    """Controls [E, nu] for the coming steps, down into the engine."""
    physics.ctrl.copy_(controls)
    if physics.name == "mujoco":
        physics.batch.ctrl = controls.cpu().numpy()


def controls_of(env, actions):
    """What the agents' actions, one set a step, mean to the engine."""
    for action in actions:
        env.act(torch.cat(action, dim=-1))
        yield env.physics.ctrl.clone()


def engine_seconds(clock, twin, controls) -> float:
    """Of the engine alone, from its states on."""
    seconds = 0.0
    for value in controls:
        set_controls(twin, value)
        seconds += clock.time(bare_step, twin)
    return seconds


def block_seconds(clock, env, twin, env_first: bool):
    """Seconds of BLOCK task steps, and of the engine alone from the same states with the same controls."""
    actions = [random_actions(env.spec) for _ in range(BLOCK)]
    controls = list(controls_of(env, actions))
    twin.load_state_dict(env.physics.state_dict())

    def task():
        for action in actions:
            env.step(action)

    if env_first:
        mine = clock.time(task)
        return mine, engine_seconds(clock, twin, controls)
    bare = engine_seconds(clock, twin, controls)
    return clock.time(task), bare


def collect_ratio(make, algo, num_envs: int, device, sim, repeats: int):
    """Seconds of collecting, and of the engine alone from the same states with the controls that were chosen."""
    clock = Clock(device)
    env = make(num_envs, device, sim)
    rows = num_envs * STEPS
    twin = make(num_envs, device, sim).physics if hasattr(env, "physics") else None
    learner = replace(algo, rollout_length=STEPS, critic_minibatches=1).learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    ours = []
    bare = []
    step = env.reset(0)
    for _ in range(repeats + 1):  # the first warms up
        if twin is not None:
            twin.load_state_dict(env.physics.state_dict())
        begin = clock.now()
        step = collect(env, learner.actors, learner.rollout, step, stats)
        ours.append(clock.now() - begin)
        if twin is None:
            continue
        saved = env.state_dict()
        controls = list(controls_of(env, [to_env(env.spec, action) for action in learner.rollout.action]))
        env.load_state_dict(saved)
        bare.append(engine_seconds(clock, twin, controls))
    if twin is None:
        return {"collect_steps_per_second": spread([rows / t for t in ours[1:]])}
    return {
        "collect_steps_per_second": spread([rows / t for t in ours[1:]]),
        "engine_steps_per_second": spread([rows / t for t in bare[1:]]),
        "ratio": spread([a / b for a, b in zip(ours[1:], bare[1:])]),
    }


def tensor_steps(clock, env, repeats: int):
    """Steps/s of a task without an engine; actions are drawn beforehand."""
    actions = [random_actions(env.spec) for _ in range(BLOCK)]

    def play():
        for t in range(STEPS):
            env.step(actions[t % BLOCK])

    seconds = [clock.time(play) for _ in range(repeats + 1)]
    return {"task_steps_per_second": spread([env.spec.num_envs * STEPS / t for t in seconds[1:]])}


def step_ratio(make, num_envs: int, device, sim, repeats: int):
    """Seconds of task steps, and of the engine alone on copies of the same states and controls, block by block in turn."""
    clock = Clock(device)
    env = make(num_envs, device, sim)
    env.reset(0)
    if not hasattr(env, "physics"):
        return tensor_steps(clock, env, repeats)
    twin = make(num_envs, device, sim).physics
    ours = []
    bare = []
    for _ in range(repeats + 1):  # the first warms up
        pairs = [block_seconds(clock, env, twin, env_first=bool(k % 2)) for k in range(STEPS // BLOCK)]
        ours.append(sum(mine for mine, _ in pairs))
        bare.append(sum(engine for _, engine in pairs))
    rows = num_envs * STEPS
    return {
        "task_steps_per_second": spread([rows / t for t in ours[1:]]),
        "engine_steps_per_second": spread([rows / t for t in bare[1:]]),
        "ratio": spread([a / b for a, b in zip(ours[1:], bare[1:])]),
    }


def bare_network(inputs: int, hidden, outputs: int, activation: str, device):
    """LayerNorm, then Linear, activation, LayerNorm for each hidden layer, then Linear, as torch modules."""
    kinds = {"relu": nn.ReLU, "tanh": nn.Tanh, "elu": nn.ELU, "selu": nn.SELU}
    layers = [nn.LayerNorm(inputs)]
    width = inputs
    for size in hidden:
        layers += [nn.Linear(width, size), kinds[activation](), nn.LayerNorm(size)]
        width = size
    return nn.Sequential(*layers, nn.Linear(width, outputs)).to(device)


def bare_loop(parts):
    """(network, optimizer, inputs [B, I], epochs): forward, mean square, backward, Adam."""
    for network, optimizer, inputs, epochs in parts:
        for _ in range(epochs):
            optimizer.zero_grad()
            network(inputs).square().mean().backward()
            optimizer.step()


def update_ratio(make, algo, num_envs: int, device, sim, repeats: int):
    """Seconds of a learner's update on a real rollout, and of the bare loop."""
    env = make(num_envs, device, sim)
    learner = algo.learner(env.spec, 0)
    spec = env.spec
    cfg = algo
    collect(env, learner.actors, learner.rollout, env.reset(0))
    rollout = learner.rollout
    parts = []
    for i, space in enumerate(spec.actions):
        network = bare_network(
            spec.obs_sizes[i],
            cfg.hidden,
            space.size if isinstance(space, Box) else mask_width(space),
            cfg.activation,
            device,
        )
        inputs = rollout.obs[:, :, i, : spec.obs_sizes[i]].flatten(0, 1).contiguous()
        parts.append((network, torch.optim.Adam(network.parameters(), cfg.critic_lr), inputs, cfg.epochs))
    critic = bare_network(spec.state_size, cfg.hidden, 1, cfg.activation, device)
    parts.append(
        (critic, torch.optim.Adam(critic.parameters(), cfg.critic_lr), rollout.state.flatten(0, 2), cfg.critic_epochs)
    )
    clock = Clock(device)
    ours = []
    bare = []
    for _ in range(repeats + 1):
        ours.append(clock.time(learner.update, 0.0))
        bare.append(clock.time(bare_loop, parts))
    return {
        "update_seconds": spread(ours[1:]),
        "bare_seconds": spread(bare[1:]),
        "ratio": spread([a / b for a, b in zip(ours[1:], bare[1:])]),
    }


def training_speed(make, algo, num_envs: int, device, sim, repeats: int):
    """Steps/s of whole iterations, with episode statistics, and this process's peak memory."""
    env = make(num_envs, device, sim)
    learner = algo.learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    clock = Clock(device)
    step = env.reset(0)
    total = []
    collecting = []
    for _ in range(repeats + 1):
        begin = clock.now()
        step = collect(env, learner.actors, learner.rollout, step, stats)
        middle = clock.now()
        learner.update(0.0)
        total.append(clock.now() - begin)
        collecting.append(middle - begin)
    rows = num_envs * learner.rollout.length
    result = {
        "steps_per_second": spread([rows / t for t in total[1:]]),
        "collect_steps_per_second": spread([rows / t for t in collecting[1:]]),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if device.type == "cuda":
        result["peak_device_memory_gib"] = torch.cuda.max_memory_allocated(device) / 2**30
    return result


def settings(args):
    """The run that is measured, as the command line would compose it."""
    register()
    words = (
        ["experiment=" + args["experiment"]]
        if args["experiment"]
        else ["task=" + args["task"], "algo=" + args["algo"], f"algo.rollout_length={args['rollout_length']}"]
    )
    check_command_line(words)
    with initialize_config_module("harl_isaac.cfg", version_base="1.3"):
        return to_run(compose("config", words))


def measure(args, device):
    """The figures of one or all kinds of measurement, shown as they come."""
    run = settings(args)
    sim = args["sim"]
    repeats = args["repeats"]
    make = run.task.make
    algo = run.algo
    kinds = {
        "step": lambda n: step_ratio(make, n, device, sim, repeats),
        "collect": lambda n: collect_ratio(make, algo, n, device, sim, repeats),
        "update": lambda n: update_ratio(make, algo, n, device, sim, repeats),
        "train": lambda n: training_speed(make, algo, n, device, sim, repeats),
    }
    if args["what"] not in ("all", *kinds):
        raise ValueError(
            "what={}; possible: all, {}, table3, off_policy, workers".format(args["what"], ", ".join(kinds))
        )
    numbers = args["num_envs"] or (str(run.num_envs) if args["experiment"] else "256,1024")
    for name in kinds if args["what"] == "all" else [args["what"]]:
        for num_envs in (int(word) for word in numbers.split(",")):
            figures = kinds[name](num_envs)
            show(name, num_envs, figures)
            yield {"what": name, "num_envs": num_envs, **figures}


def main() -> None:
    keep_freed_memory()  # as training does
    args = read_arguments(__doc__, DEFAULTS, first="what")
    device = choose_device(args["device"])
    if args["what"] == "table3":
        results = list(table3(device, args["sim"], args["repeats"], Clock(device), spread))
    elif args["what"] == "off_policy":
        results = list(off_policy(device, args["repeats"], Clock(device), spread))
    elif args["what"] == "workers":
        results = list(transport(args["repeats"]))
    else:
        results = list(measure(args, device))
    if args["json"]:
        report = {"settings": args, "threads": torch.get_num_threads(), "device": str(device), **versions()}
        with open(args["json"], "w") as file:
            json.dump({**report, "results": results}, file, indent=2)


if __name__ == "__main__":
    run_script(main)
