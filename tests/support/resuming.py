"""A run in one piece beside one that was resumed, and their states as flat tables."""

import math

import torch

from harl_isaac.training import checkpoint
from harl_isaac.training.trainer import Trainer


def flat(state, prefix=""):
    """Nested dicts and lists -> {path: leaf}."""
    if isinstance(state, dict):
        items = state.items()
    elif isinstance(state, (list, tuple)):
        items = enumerate(state)
    else:
        return {prefix: state}
    leaves = {}
    for name, value in items:
        leaves.update(flat(value, f"{prefix}/{name}"))
    return leaves


def same(one, other):
    """Equal leaves, bit by bit."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    return one == other or (isinstance(one, float) and math.isnan(one) and math.isnan(other))


def whole_and_resumed(cfg, folder, iterations=4, at=2):
    """A Trainer that trained for some iterations, and one resumed from a checkpoint `at` one of them (keep_every)."""
    whole = Trainer(cfg)
    whole.train(folder)
    assert whole.iteration == iterations
    torch.manual_seed(99)
    second = Trainer(cfg, checkpoint.load(folder / "checkpoints" / f"iteration_{at:06d}.pt"))
    for _ in range(iterations - at):
        second.iterate()
    return whole, second
