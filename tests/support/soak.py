"""A soak: how far joints of hands pass their limits, and how fast they get, after every step of the physics."""

from typing import NamedTuple

import torch

MODES = ("random", "held")  # new actions at every step; full force and full targets held for an episode


class Extremes(NamedTuple):
    """The worst of a soak."""

    overshoot: float  # [rad] beyond a joint's limit
    speed: float  # [rad/s] of a joint
    diverged: int
    overflow: float


def soak(env, mode, steps, seed):
    """Play `steps` control steps with actions of a mode."""
    random = torch.Generator().manual_seed(seed)
    physics = env.physics
    control_step = physics.step
    substeps = physics.substeps
    names = [env.hand.full_name(side, joint) for side in ("right", "left") for joint in env.hand.joints]
    speeds = [physics.model.joint(name).dofadr[0] for name in names]
    worst = torch.zeros(2)

    def watched_step():
        for _ in range(substeps):
            control_step()
            angles = physics.qpos[:, env._joints]
            beyond = torch.maximum(env._joint_low - angles, angles - env._joint_high)
            both = torch.stack((beyond.max(), physics.qvel[:, speeds].abs().max()))
            worst.copy_(torch.maximum(worst, both.nan_to_num(nan=1e6)))

    physics.substeps = 1
    physics.step = watched_step
    step = env.reset(seed)
    actions = torch.zeros(env.spec.num_envs, sum(box.size for box in env.spec.actions))
    fresh = torch.ones(env.spec.num_envs, dtype=torch.bool)
    for _ in range(steps):
        drawn = 2.0 * torch.rand(actions.shape, generator=random) - 1.0
        actions = drawn if mode == "random" else torch.where(fresh[:, None], drawn.sign(), actions)
        step = env.step(actions.chunk(env.spec.num_agents, dim=1))
        fresh = step.terminated | step.truncated
    return Extremes(float(worst[0]), float(worst[1]), int(env.diverged_count), float(step.metrics["overflow"].max()))
