"""python scripts/play.py run=<run folder>: show a trained policy, in MuJoCo's viewer where there is a screen, else as a video.
Tasks without MuJoCo are drawn, if they say how.

Keys: run (a run folder, which means its best checkpoint, or a checkpoint file), out (video.mp4, or strip.png for a row of
pictures; default: the viewer, or <run>/play.mp4), episodes=4, speed=0.5 (of the video), pick=any (any, success: only
episodes that succeed), seed=0, sim=mujoco.
"""

import os
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

from harl_isaac.cli.script import read_arguments
from harl_isaac.rendering.mujoco_video import render, save_recording, write
from harl_isaac.rendering.particle_frames import pictures
from harl_isaac.training.checkpoint import run_folder
from harl_isaac.training.evaluation import Player
from harl_isaac.training.load_policy import load_policy

DEFAULTS = {"run": None, "out": None, "episodes": 4, "speed": 0.5, "pick": "any", "seed": 0, "sim": "mujoco"}


def record(env, actors, seed: int):
    """One episode in every environment: frames of a snapshot's parts [F, E, ...], lengths [E], success [E]."""
    step = env.reset(seed)
    frames = []
    player = Player(env.spec, actors)
    lengths = np.zeros(env.spec.num_envs, dtype=int)
    success = np.zeros_like(lengths, dtype=bool)
    running = np.ones_like(lengths, dtype=bool)
    for t in range(env.spec.max_episode_steps):
        frames.append([value.cpu().numpy().copy() for value in snapshot(env)])
        step = env.step(player.act(step))
        lengths[running] = t + 1
        if "success" in step.metrics:
            success |= running & (step.metrics["success"].cpu().numpy() > 0)
        running &= ~step.done.cpu().numpy()
        if not running.any():
            break
    return [np.stack(part) for part in zip(*frames)], lengths, success


def snapshot(env):
    """What a picture of every environment needs."""
    if drawn(env):
        return env.discs()
    return env.physics.qpos, env.physics.mocap_pos, env.physics.mocap_quat


def drawn(env) -> bool:
    """The task is shown as discs in a plane."""
    return hasattr(env, "discs")


def choose(lengths, success, pick: str, episodes: int):
    """Environments to show. Raises ValueError if none qualifies."""
    if pick not in ("any", "success"):
        raise ValueError(f"pick={pick}; possible: any, success")
    candidates = np.flatnonzero(success) if pick == "success" else np.arange(len(lengths))
    if not len(candidates):
        raise ValueError(f"pick=success: none of {len(lengths)} episodes succeeded; use pick=any")
    return candidates[:episodes]


def write_video(env, actors, args, out: Path) -> None:
    parts, lengths, success = record(env, actors, args["seed"])
    chosen = choose(lengths, success, args["pick"], args["episodes"])
    parts = [np.concatenate([part[: lengths[e], e] for e in chosen]) for part in parts]
    fps = args["speed"] / env.control_seconds
    if drawn(env):
        write(pictures(*parts, env.radii()), out, fps)
    else:
        write_rendered(env, parts, out, fps)
    successes = f", {success[chosen].sum()} of them with success" if "success" in env.spec.metrics else ""
    print(f"{out}: {len(chosen)} episodes{successes}, {len(parts[0])} frames")


def write_rendered(env, parts, out: Path, fps: float) -> None:
    """By MuJoCo's renderer, in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        recording = Path(folder) / "recording.npz"
        save_recording(recording, env.visual_model(), *parts, fps)
        render(recording, out)


def watch(env, actors, args) -> None:
    """The viewer, at real-time speed, until it is closed; it shows the first environment."""
    import mujoco
    import mujoco.viewer

    model = env.visual_model()
    data = mujoco.MjData(model)
    step = env.reset(args["seed"])
    player = Player(env.spec, actors)
    with mujoco.viewer.launch_passive(model, data) as viewer:
        while viewer.is_running():
            started = time.monotonic()
            step = env.step(player.act(step))
            data.qpos[:] = env.physics.qpos[0].cpu().numpy()
            data.mocap_pos[:] = env.physics.mocap_pos[0].cpu()
            data.mocap_quat[:] = env.physics.mocap_quat[0].cpu()
            mujoco.mj_forward(model, data)
            viewer.sync()
            time.sleep(max(0.0, env.control_seconds - (time.monotonic() - started)))


def main() -> None:
    args = read_arguments(__doc__, DEFAULTS)
    screen = args["out"] is None and bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    # More environments than episodes to show, so that pick=success has some to choose from.
    count = args["episodes"] * (16 if args["pick"] == "success" else 1)
    env, actors, checkpoint = load_policy(args["run"], count, "cpu", args["sim"])
    if not drawn(env) and not hasattr(env, "visual_model"):
        raise ValueError("the run's task has no picture: it is not simulated by MuJoCo")
    torch.manual_seed(args["seed"])
    if screen and not drawn(env):  # there is no viewer of drawings
        watch(env, actors, args)
        return
    write_video(env, actors, args, Path(args["out"] or run_folder(checkpoint) / "play.mp4"))
