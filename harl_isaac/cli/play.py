"""harl-play <run folder>: show a trained policy, in MuJoCo's viewer where there is a screen, else as a video. Tasks
without MuJoCo are drawn, if they say how: environments of PettingZoo, and those of one's own, by their `render()`.

Keys: run (the first word: a run folder, which means its best checkpoint, a checkpoint or a policy file, or `last`, the
newest run below run_root=runs) or policy (a policy file, or the name of one that comes with the package), out
(video.mp4, or strip.png for rows of pictures; default: the viewer, or <run>/play.mp4, of a policy file <its name>.mp4
here), episodes=4, speed=0.5 (of the video), pick=any (any, success: only episodes that succeed), seed=0, sim=mujoco,
trust=false (true: the run may use code of other packages), modules=[...] (of one's own, with the run's task or
algorithm: names or files).
"""

import os
import tempfile
import time
from pathlib import Path
from typing import Any, Dict, List, Sequence, Tuple

import numpy as np
import torch
from torch import Tensor

from harl_isaac.cli.arguments import check_amounts, check_numbers, read_arguments
from harl_isaac.cli.modules import load_modules
from harl_isaac.cli.recording import (
    CANDIDATES,
    Recording,
    VisibleEnv,
    check_pick,
    choose,
    pictures_again,
    record,
    rehearse,
)
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.rendering.camera import STEP_SECONDS, Camera, step_seconds
from harl_isaac.rendering.film import Label, check_out, labels, needed, write
from harl_isaac.rendering.mujoco_video import render, save_recording
from harl_isaac.rendering.particle_frames import pictures
from harl_isaac.settings import check_engine
from harl_isaac.training import policy_file
from harl_isaac.training.checkpoint import run_folder
from harl_isaac.training.evaluation import Player
from harl_isaac.training.load_policy import saved_policy

DEFAULTS = {
    "run": None,
    "run_root": "runs",
    "policy": None,
    "out": None,
    "episodes": 4,
    "speed": 0.5,
    "pick": "any",
    "seed": 0,
    "sim": "mujoco",
    "trust": False,
    "modules": None,
}
SLOWEST = 0.01  # speeds of a video
FASTEST = 100.0
CPU = torch.device("cpu")


def main() -> None:
    """Show the run named on the command line in the viewer, or write a video or a strip of pictures."""
    args = read_arguments(__doc__, DEFAULTS, first="run")
    check_amounts(args)
    check_numbers(args, speed=(SLOWEST, FASTEST))
    check_pick(args["pick"])
    load_modules(args["modules"])
    has_screen = bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))
    if args["out"] is not None:
        check_out(Path(args["out"]))  # before anything is played
    env, actors, checkpoint = open_run(args)
    torch.manual_seed(args["seed"])
    out = Path(args["out"] or default_video(checkpoint))
    if draws_itself(env):
        write_pictures(env, actors, args, out)
    elif args["out"] is None and has_screen and not is_drawn(env):  # drawings have no viewer
        watch(env, actors, args["seed"])
    else:
        write_video(env, actors, args, out)


def open_run(args: Dict[str, Any]) -> Tuple[VisibleEnv, JointPolicy, Path]:
    """The environment to be shown, the policies, and the file that they come from. Raises ValueError."""
    check_engine(args["sim"])
    saved = saved_policy(policy_file.chosen(args["run"], args["policy"]), args["trust"])
    task = saved.task.for_evaluation().with_pictures()
    count = args["episodes"] * (CANDIDATES if args["pick"] == "success" else 1)
    env: VisibleEnv = task.make(count, CPU, args["sim"])
    if draws_itself(env) and count > 1:  # one plays all episodes, one after the other
        env.close()
        env = task.make(1, CPU, args["sim"])
    if not (draws_itself(env) or is_drawn(env) or hasattr(env, "visual_model")):
        raise ValueError(
            f"{saved.task.name} has no picture: it is not simulated by MuJoCo, and its environment has no render() "
            "that returns one"
        )
    return env, saved.actors(env.spec), saved.file


def default_video(file: Path) -> Path:
    """A video in the run folder of a checkpoint, or here and named as a policy file, which may lie anywhere."""
    return Path(file.stem + ".mp4") if file.suffix == policy_file.SUFFIX else run_folder(file) / "play.mp4"


def is_drawn(env: VisibleEnv) -> bool:
    """Whether the task is drawn as shapes in the plane."""
    return hasattr(env, "render_shapes")


def draws_itself(env: VisibleEnv) -> bool:
    """Whether the task's environment makes its pictures itself."""
    return hasattr(env, "render") and not is_drawn(env) and not hasattr(env, "visual_model")


def snapshot(env: VisibleEnv) -> Sequence[Tensor]:
    """State of all environments that a picture needs, each part [E, ...]."""
    if is_drawn(env):
        return env.render_shapes()
    return env.physics.qpos, env.physics.mocap_pos, env.physics.mocap_quat


def write_video(env: VisibleEnv, actors: JointPolicy, args: Dict[str, Any], out: Path) -> None:
    """Play episodes and write the chosen ones, one after the other, to `out`."""
    check_out(out)
    recording = record(env, actors, args["seed"], snapshot)
    chosen = choose(recording, args["pick"], args["episodes"])
    texts = texts_of(recording, chosen, env.control_seconds)
    shown = needed(texts, out)
    parts = [joined_episodes(part, recording.lengths, chosen)[shown] for part in recording.parts]
    write_parts(env, parts, [texts[index] for index in shown], out, args["speed"] / env.control_seconds)
    say_written(env, recording, chosen, shown, out)


def write_pictures(env: VisibleEnv, actors: JointPolicy, args: Dict[str, Any], out: Path) -> None:
    """Play episodes, then the chosen ones again for their pictures, which the environment makes, into `out`."""
    check_out(out)
    env.reset(args["seed"])
    Camera(env).picture()  # before anything is played
    seconds = step_seconds(env)
    recording = rehearse(env, actors, args["seed"], args["episodes"], args["pick"])
    chosen = choose(recording, args["pick"], args["episodes"])
    texts = texts_of(recording, chosen, seconds)
    shown = needed(texts, out)
    seeds = [args["seed"] + int(episode) for episode in chosen]
    pictures = pictures_again(env, actors, seeds, recording.lengths[chosen], shown)
    write(pictures, [texts[index] for index in shown], out, args["speed"] / (seconds or STEP_SECONDS))
    say_written(env, recording, chosen, shown, out)


def texts_of(recording: Recording, chosen: np.ndarray, seconds: float) -> List[Label]:
    """A label for each picture of the chosen episodes, whose steps take so many seconds."""
    outcomes = ["success" if recording.success[episode] else "" for episode in chosen]
    return labels(recording.lengths[chosen], seconds, outcomes)


def say_written(env: VisibleEnv, recording: Recording, chosen: np.ndarray, shown: List[int], out: Path) -> None:
    """Print what was written."""
    successes = f", {recording.success[chosen].sum()} of them with success" if "success" in env.spec.metrics else ""
    print(f"{out}: {len(chosen)} episodes{successes}, {len(shown)} pictures")


def joined_episodes(part: np.ndarray, lengths: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """Frames of the chosen environments' episodes one after the other, [sum of lengths, ...], of part [F, E, ...]."""
    return np.concatenate([part[: lengths[e], e] for e in chosen])


def write_parts(env: VisibleEnv, parts: List[np.ndarray], texts: Sequence[Label], out: Path, fps: float) -> None:
    """Draw the shapes of snapshots, or render them with MuJoCo in a process of its own; see `snapshot`."""
    if is_drawn(env):
        centers, colors, words = parts
        write(pictures(centers, colors, words, env.shape_radii()), texts, out, fps)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "recording.npz"
        save_recording(file, env.visual_model(), parts, texts, fps)
        render(file, out)


def watch(env: VisibleEnv, actors: JointPolicy, seed: int) -> None:
    """Show the first environment in MuJoCo's viewer, at real-time speed, until it is closed."""
    import mujoco
    import mujoco.viewer

    model = env.visual_model()
    data = mujoco.MjData(model)
    step = env.reset(seed)
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
