"""Whole iterations: collection and update."""

import resource

import torch

from benchmarks.clock import Clock, Figures, speed
from benchmarks.subject import Subject
from harl_isaac.training.episode_stats import EpisodeStats


def training_speed(subject: Subject, num_envs: int) -> Figures:
    """Steps/s of whole iterations, with episode statistics, and of their collection; this process's peak memory."""
    env = subject.make(num_envs)
    learner = subject.algo.learner(env.spec, 0)
    stats = EpisodeStats(env.spec)
    clock = Clock(subject.device)
    step = env.reset(0)
    while learner.steps_before_update:
        step, _ = learner.collect(env, step, stats)
    iterations = []
    collections = []
    for _ in range(subject.repeats + 1):  # the first warms up
        begin = clock.read()
        step, length = learner.collect(env, step, stats)
        middle = clock.read()
        learner.update(0.0)
        iterations.append(clock.read().since(begin))
        collections.append(middle.since(begin))
    rows = num_envs * length
    figures: Figures = {
        **speed("steps", rows, iterations[1:]),
        **speed("collect_steps", rows, collections[1:]),
        "peak_memory_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
    }
    if subject.device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(subject.device)  # Warp's memory is not in torch's own figures
        figures["device_memory_gib"] = (whole - free) / 2**30
    return figures
