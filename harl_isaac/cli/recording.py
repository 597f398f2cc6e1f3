"""Episodes played for a video: of all environments at once as states, or one by one for pictures taken on the way."""

from typing import Any, Callable, Iterator, List, NamedTuple, Sequence

import numpy as np
from torch import Tensor

from harl_isaac.cli.arguments import check_choice
from harl_isaac.env import Step
from harl_isaac.networks.joint_policy import JointPolicy
from harl_isaac.rendering.camera import Camera
from harl_isaac.training.evaluation import Player

CANDIDATES = 16  # episodes played for each that is shown, with pick=success
PICKS = ("any", "success")

# A MultiAgentEnv that can be shown has `control_seconds` and either `physics` and `visual_model()` (MuJoCo) or
# `render_shapes()` and `shape_radii()` (drawn in the plane); or it has `render()`, see MultiAgentEnv.
VisibleEnv = Any


class Recording(NamedTuple):
    """One episode of every environment."""

    parts: List[np.ndarray]  # of a snapshot, each [F, E, ...]
    lengths: np.ndarray  # [E] steps
    success: np.ndarray  # [E] bool, all false where the task has no such metric


def record(
    env: VisibleEnv, actors: JointPolicy, seed: int, snapshot: Callable[[VisibleEnv], Sequence[Tensor]]
) -> Recording:
    """Play one episode in every environment with the deterministic policy; keep its snapshots."""
    step = env.reset(seed)
    frames = []
    player = Player(env.spec, actors)
    lengths = np.zeros(env.spec.num_envs, dtype=int)
    success = np.zeros_like(lengths, dtype=bool)
    running = np.ones_like(lengths, dtype=bool)
    for t in range(env.spec.max_episode_steps):
        frames.append([part.cpu().numpy().copy() for part in snapshot(env)])
        step = env.step(player.act(step))
        lengths[running] = t + 1
        if "success" in step.metrics:
            success |= running & (step.metrics["success"].cpu().numpy() > 0)
        running &= ~step.done.cpu().numpy()
        if not running.any():
            break
    return Recording([np.stack(part) for part in zip(*frames)], lengths, success)


def rehearse(env: VisibleEnv, actors: JointPolicy, seed: int, episodes: int, pick: str) -> Recording:
    """Play episodes of the first environment, without pictures, until there are `episodes` to pick.

    Their seeds are `seed`, `seed` + 1, and so on; E of the result is their number.
    """
    count = episodes * (CANDIDATES if pick == "success" else 1)
    lengths: List[int] = []
    success: List[bool] = []
    while len(lengths) < count and (pick != "success" or sum(success) < episodes):
        steps = list(_outcomes(env, actors, seed + len(lengths)))
        lengths.append(len(steps))
        success.append(any(steps))
    return Recording([], np.array(lengths), np.array(success))


def _outcomes(env: VisibleEnv, actors: JointPolicy, seed: int) -> Iterator[bool]:
    """Whether each step of an episode had success."""
    for number, step in enumerate(_episode(env, actors, seed)):
        if number:
            yield "success" in step.metrics and bool(step.metrics["success"][0] > 0)


def _episode(env: VisibleEnv, actors: JointPolicy, seed: int) -> Iterator[Step]:
    """The Steps of one episode of the first environment, from the reset's to that which ends it."""
    step = env.reset(seed)
    player = Player(env.spec, actors)
    yield step
    for _ in range(env.spec.max_episode_steps):
        step = env.step(player.act(step))
        yield step
        if bool(step.done[0]):
            break


def check_pick(pick: str) -> None:
    """Raise ValueError for a way to pick episodes that there is not."""
    check_choice("pick", pick, list(PICKS))


def choose(recording: Recording, pick: str, episodes: int) -> np.ndarray:
    """Indices of the environments to show, at most `episodes`. Raises ValueError if none qualifies."""
    count = len(recording.lengths)
    candidates = np.flatnonzero(recording.success) if pick == "success" else np.arange(count)
    if not len(candidates):
        raise ValueError(f"pick=success: none of {count} episodes succeeded; use pick=any")
    return candidates[:episodes]


def pictures_again(
    env: VisibleEnv, actors: JointPolicy, seeds: Sequence[int], lengths: Sequence[int], shown: Sequence[int]
) -> Iterator[np.ndarray]:
    """Play episodes of these seeds once more; yields the pictures whose numbers, over all episodes, are in `shown`.

    Nothing is kept, and nothing drawn that is not shown. Raises ValueError where an episode ends at another step than
    before (`lengths`), and where there is no picture.
    """
    camera = Camera(env)
    wanted = set(shown)
    first = 0
    for seed, length in zip(seeds, lengths):
        played = -1
        for played, _ in enumerate(_episode(env, actors, seed)):
            if played < length and first + played in wanted:
                yield camera.picture()
        if played != length:
            raise ValueError(
                f"the episode of seed {seed} ended after {length} steps, and played again after {played}: the "
                "environment's reset(seed) must seed all that it draws"
            )
        first += length
