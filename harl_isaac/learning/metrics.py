"""Metrics that learners report: means over living agents, by agent, of the critic; and the order of agents in an update."""

import random
from typing import Dict, List

import torch
from torch import Tensor


def agent_order(order: random.Random, agents: int, fixed: bool) -> List[int]:
    """The agents 0, 1, ... in the order of one update."""
    return list(range(agents)) if fixed else order.sample(range(agents), agents)


def explained_variance(value: Tensor, target: Tensor) -> Tensor:
    """1 - Var(target - value) / Var(target): 1 is a perfect critic, 0 one that knows the mean only."""
    return 1.0 - (target - value).var() / target.var().clamp(min=1e-8)


def per_agent_metrics(by_agent: Dict[int, Dict[str, Tensor]], agents) -> Dict[str, Tensor]:
    """Metrics by agent's name (never by its place in the order), and their mean."""
    names = by_agent[0].keys()
    metrics = {"actor/" + name: torch.stack([by_agent[i][name] for i in by_agent]).mean() for name in names}
    for i in range(len(agents)):
        for name in names:
            metrics[f"agent/{agents[i]}/{name}"] = by_agent[i][name]
    return metrics


def alive_mean(value: Tensor, alive: Tensor) -> Tensor:
    """Mean over the rows where the agent was alive; zero, not NaN, where nobody was. [B] x [B] -> []"""
    return (value * alive).sum() / alive.sum().clamp(min=1.0)
