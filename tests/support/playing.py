"""What tests of simulators do with their environments: play, and compare what was seen."""

import torch

from harl_isaac.check_env import _copy as tensors
from harl_isaac.check_env import random_actions


def fatal(env, *rows):
    """Harmless actions, but for those of the environments `rows`."""
    actions = (torch.zeros(env.spec.num_envs, 2), torch.zeros(env.spec.num_envs, 2, dtype=torch.long))
    for e in rows:
        actions[0][e, 0] = 3.0
    return actions


def equal(one, other):
    return all(torch.equal(a, b) for a, b in zip(one, other))


def history(env, steps, seed, draw=0):
    """Copies of the Steps of random actions, which `draw` repeats."""
    generator = torch.Generator().manual_seed(draw)
    step = env.reset(seed)
    found = [tensors(step)]
    for _ in range(steps):
        step = env.step(random_actions(env.spec, step, generator))
        found.append(tensors(step))
    return found
