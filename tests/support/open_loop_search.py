"""Open-loop search for hand tasks: a sequence of a few postures, without feedback, that solves the task.

Cross-entropy method (Rubinstein, 1999) over a plan for each hand: three postures and the two moments of change.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

HANDS = 2
POSTURES = 3
MOMENTS = HANDS * (POSTURES - 1)
# Which number of a posture drives each action slot of a hand; -1: it stays at the middle, such as fingers' spread.
# Shadow: wrist 2; of the four fingers together J2 and J1; thumb 5. Others: of three fingers together 3; thumb 4.
SLOT_NUMBERS = {
    "ShadowHandOver": (0, 1, -1, 2, 3, -1, 2, 3, -1, 2, 3, -1, -1, 2, 3, 4, 5, 6, 7, 8),
    "AllegroHandOver": (-1, 0, 1, 2) * 3 + (3, 4, 5, 6),
    "LeapHandOver": (0, -1, 1, 2) * 3 + (3, 4, 5, 6),
}
FIRST_MOMENTS = (0.25, 0.5)  # fractions of the episode
CLOSE = 0.3  # fraction of the distribution's width
ELITES = 8  # best plans so far, which shape the next generation
KEEP = 0.2  # fraction of the old distribution that stays in each generation
OBJECT_VELOCITY_Y = -24 + 8  # in the state, which ends with the throw's 24: pose 7, velocity


@dataclass
class Found:
    """A plan and its results."""

    plan: Tensor  # [P] numbers of the postures, right hand first, then moments
    mean_return: float
    success: float  # fraction of starts
    speed: float  # [m/s] the object's highest towards the left hand, mean over starts


def plan_actions(plans: Tensor, env) -> Tensor:
    """Plans [N, P] -> actions [length, N, 2 x slots] of whole episodes, right hand first."""
    length = env.spec.max_episode_steps
    slots = SLOT_NUMBERS[env.cfg.name]
    numbers = plans[:, :-MOMENTS].reshape(-1, HANDS, POSTURES, max(slots) + 1).clamp(-1.0, 1.0)
    postures = torch.nn.functional.pad(numbers, (0, 1))[..., slots]
    moments = plans[:, -MOMENTS:].reshape(-1, HANDS, POSTURES - 1)
    clock = torch.arange(length)[:, None, None, None] / length
    current = (clock >= moments).sum(-1)[..., None, None].expand(-1, -1, -1, 1, len(slots))  # which posture
    chosen = postures.expand(length, -1, -1, -1, -1).gather(3, current)
    return chosen.reshape(length, len(plans), HANDS * len(slots))


def share_starts(env, starts: int, seed: int) -> None:
    """Reset, then repeat the first `starts` rows over the batch: every plan meets the same starts."""
    env.reset(seed)
    rows = torch.arange(env.spec.num_envs) % starts
    every = torch.ones_like(rows, dtype=torch.bool)
    for goal in env.goals.values():
        goal.quat.copy_(goal.quat[rows])
    env.physics.set_state(every, env.physics.qpos[rows], env.physics.qvel[rows])
    env.physics.forward(every)


def play(env, actions: Tensor):
    """Returns, successes and speeds [E] of every environment's first episode under actions [T, E, 2 x slots]."""
    alive = torch.ones(env.spec.num_envs)
    total = torch.zeros_like(alive)
    success = torch.zeros_like(alive)
    speed = torch.zeros_like(alive)
    for action in actions:
        step = env.step(action.chunk(HANDS, dim=1))
        total += alive * step.reward[:, 0]
        success = torch.maximum(success, alive * step.metrics["success"])
        speed = torch.maximum(speed, -alive * step.next_state[:, 0, OBJECT_VELOCITY_Y])
        alive = alive * ~step.done
    return total, success, speed


def evaluate_plan(env, plan: Tensor, seed: int, starts: int) -> Found:
    """Return, success and speed of one plan, means over `starts` starts."""
    share_starts(env, starts, seed)
    results = play(env, plan_actions(plan[None], env).expand(-1, env.spec.num_envs, -1))
    return Found(plan, *(float(values[:starts].mean()) for values in results))


def search(env, generations: int, starts: int, seed: int, watch=None) -> Found:
    """Best mean plan for an environment with two agents; its batch holds num_envs / starts plans a generation."""
    random = torch.Generator().manual_seed(seed)
    plans = env.spec.num_envs // starts
    size = HANDS * POSTURES * (max(SLOT_NUMBERS[env.cfg.name]) + 1) + MOMENTS
    mean = torch.zeros(size)
    spread = torch.full((size,), 0.7)
    mean[-MOMENTS:] = torch.tensor(FIRST_MOMENTS * HANDS)
    spread[-MOMENTS:] = 0.15
    elite = torch.zeros(0, size)
    scores = torch.zeros(0)
    for generation in range(generations):
        drawn = mean + spread * torch.randn(plans, size, generator=random)
        if generation:  # half of them close to one of the best
            parents = elite[torch.randint(ELITES, (plans // 2,), generator=random)]
            drawn[: plans // 2] = parents + CLOSE * spread * torch.randn(plans // 2, size, generator=random)
        share_starts(env, starts, seed)
        actions = plan_actions(drawn, env).repeat_interleave(starts, dim=1)
        results = [values.view(plans, starts).mean(1) for values in play(env, actions)]
        scores, order = torch.cat((scores, results[0])).topk(ELITES)
        elite = torch.cat((elite, drawn))[order]
        mean = KEEP * mean + (1.0 - KEEP) * elite.mean(0)
        spread = KEEP * spread + (1.0 - KEEP) * elite.std(0)
        if watch:
            watch(generation, *results)
    return evaluate_plan(env, elite[0], seed, starts)  # the same starts; call evaluate_plan for others
