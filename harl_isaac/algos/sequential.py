"""The sequential update scheme (Zhong et al., 2024, Algorithm 4 and Section 4.2): agents one by one, in random order,
each against the policies already updated in this iteration."""

from typing import Callable, Dict, Iterable, Tuple

import torch
from torch import Tensor

from harl_isaac.algos.advantage import normalize
from harl_isaac.networks.actors import Actor, StackedActors
from harl_isaac.rollout import AgentBatch, Rollout

# (actor's place i, its batch, factor x advantage [B]) -> metrics of the update
UpdateAgent = Callable[[int, AgentBatch, Tensor], Dict[str, Tensor]]


def sequential_update(actors: StackedActors, rollout: Rollout, advantage: Tensor, order: Iterable[int],
                      update_agent: UpdateAgent) -> Tuple[Dict[int, Dict[str, Tensor]], Tensor]:
    """Update the agents named by `order`; advantage [T, E, K]. Returns metrics by agent and the final factor [B].

    The advantage is normalised over the rows where the agent was alive, then multiplied by the factor: the product of
    the probability ratios new / old of the agents before it, which starts at one and carries no gradient.
    """
    factor = torch.ones(rollout.length * rollout.spec.num_envs, device=advantage.device)
    metrics = {}
    for i in order:
        batch = rollout.agent(i)
        own = normalize(advantage[..., i % advantage.shape[-1]].reshape(-1), batch.alive)
        metrics[i] = update_agent(i, batch, factor * own)
        change = log_ratio(actors.agents[i], batch)
        metrics[i].update(_trust_metrics(change, batch.alive))
        factor = factor * change.exp()
    return metrics, factor


@torch.no_grad()
def log_ratio(actor: Actor, batch: AgentBatch) -> Tensor:
    """log pi_now(a|o) - log pi_then(a|o), [B]."""
    return actor.evaluate(batch.obs, batch.action, batch.mask)[0] - batch.log_prob


def alive_mean(value: Tensor, alive: Tensor) -> Tensor:
    """Mean over the rows where the agent was alive; zero, not NaN, where nobody was. [B] x [B] -> []"""
    return (value * alive).sum() / alive.sum().clamp(min=1.0)


def _trust_metrics(change: Tensor, alive: Tensor) -> Dict[str, Tensor]:
    """How far the policy moved: the k3 estimate of KL(old, new) (Schulman, 2020) and the mean ratio."""
    ratio = change.exp()
    return {"kl": alive_mean(ratio - 1.0 - change, alive), "ratio": alive_mean(ratio, alive)}
