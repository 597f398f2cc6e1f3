"""Metrics that learners report: means over living agents, by agent and over agents, of the critic."""

from typing import Dict, Sequence

import torch
from torch import Tensor

from harl_isaac import ranks


def living(alive: Tensor) -> Tensor:
    """Number [] of rows of all processes where alive is 1, at least 1: the denominator of means over them."""
    return ranks.total(alive.sum()).clamp(min=1.0)


def living_of_each(alive: Tensor) -> Tensor:
    """Number [A] of rows of all processes where each agent was alive [B, A], at least 1."""
    return ranks.total(alive.sum(0)).clamp(min=1.0)


def alive_mean(value: Tensor, alive: Tensor) -> Tensor:
    """Mean [] of values [B] over the rows where the agent was alive [B]; zero, not NaN, where there is none."""
    return ranks.total((value * alive).sum()) / living(alive)


def alive_mean_of_each(value: Tensor, alive: Tensor) -> Tensor:
    """Means [A] of values [B, A] over the rows where each agent was alive [B, A]."""
    return ranks.total((value * alive).sum(0)) / living_of_each(alive)


def explained_variance(value: Tensor, target: Tensor) -> Tensor:
    """1 - Var(target - value) / Var(target): 1 of a perfect critic, 0 of one that knows the mean only."""
    return 1.0 - ranks.variance(target - value) / ranks.variance(target).clamp(min=1e-8)


def per_agent_metrics(by_agent: Dict[int, Dict[str, Tensor]], agents: Sequence[str]) -> Dict[str, Tensor]:
    """Metrics agent/<name>/<metric> by the agents' names (never by their order), and their means actor/<metric>.

    Agents that are not trained have none.
    """
    names = by_agent[min(by_agent)].keys()
    metrics = {"actor/" + name: torch.stack([by_agent[i][name] for i in by_agent]).mean() for name in names}
    for i, agent in enumerate(agents):
        for name in names if i in by_agent else ():
            metrics[f"agent/{agent}/{name}"] = by_agent[i][name]
    return metrics
