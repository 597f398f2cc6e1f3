"""The two schemes by which agents are updated in an iteration.

Sequential (Zhong et al., 2024, Algorithm 4 and Section 4.2): one by one, in random order, each against the policies
already updated in this iteration. Simultaneous (MAPPO, IPPO): each against the policies that acted.
"""

from typing import Callable, Dict, Iterable, List, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch, Rollout
from harl_isaac.learning.gae import normalize
from harl_isaac.learning.metrics import alive_mean
from harl_isaac.networks.actors import Actor, StackedActors
from harl_isaac.networks.gru import SequenceStart

# (actor's place i, its batch, factor x advantage [B]) -> metrics of the update
UpdateAgent = Callable[[int, AgentBatch, Tensor], Dict[str, Tensor]]
ByAgent = Dict[int, Dict[str, Tensor]]


def sequential_update(
    actors: StackedActors, rollout: Rollout, advantage: Tensor, order: Iterable[int], update_agent: UpdateAgent
) -> Tuple[ByAgent, Tensor]:
    """Update the agents named by `order`; advantage [T, E, K]. Returns metrics by agent and the final factor [B].

    The advantage is normalized, then multiplied by the factor: the product of the probability ratios new / old of the
    agents before, which starts at one and carries no gradient. All ratios are to the policies that acted, also where
    agents share one network and so move with every turn.
    """
    own = agent_advantages(rollout, advantage)
    metrics = {}
    factor = torch.ones_like(own[0])
    for i in order:
        batch = rollout.agent(i)
        metrics[i] = update_agent(i, batch, factor * own[i])
        ratio = ratio_now(actors.agent(i), batch)
        metrics[i].update(_trust_metrics(ratio, batch.alive), factor=alive_mean(factor, batch.alive))
        factor = factor * ratio
    return metrics, factor


def simultaneous_update(
    actors: StackedActors, rollout: Rollout, advantage: Tensor, order: Iterable[int], update_agent: UpdateAgent
) -> Tuple[ByAgent, Tensor]:
    """As `sequential_update` with a factor of one throughout; a shared network is updated once, with all agents' rows."""
    own = agent_advantages(rollout, advantage, jointly=actors.shared)
    order = list(order)
    batches = {i: rollout.agent(i) for i in order}
    if actors.shared:
        shared = update_agent(order[0], joined([batches[i] for i in order]), torch.cat([own[i] for i in order]))
        metrics = {i: dict(shared) for i in order}
    else:
        metrics = {i: update_agent(i, batches[i], own[i]) for i in order}
    for i in order:
        metrics[i].update(_trust_metrics(ratio_now(actors.agent(i), batches[i]), batches[i].alive))
    return metrics, torch.ones_like(own[0])


def agent_advantages(rollout: Rollout, advantage: Tensor, jointly: bool = False) -> List[Tensor]:
    """Each agent's normalized advantage [B] from advantages [T, E, K], over the rows where it was alive.

    Advantages of its own for each agent (K = A) are normalized jointly, so that they stay comparable, as are those of
    agents who share a network.
    """
    alive = rollout.alive
    if jointly or advantage.shape[-1] > 1:
        each = normalize(advantage.expand_as(alive), alive).unbind(-1)
    else:
        each = [normalize(advantage[..., 0], alive[..., i]) for i in range(alive.shape[-1])]
    return [rollout.as_batch(value) for value in each]


@torch.no_grad()
def ratio_now(actor: Actor, batch: AgentBatch) -> Tensor:
    """pi_now(a|o) / pi_then(a|o), [B]."""
    return batch.ratio(actor.evaluate_actions(batch.obs, batch.action, batch.mask, batch.memory)[0])


def joined(batches: Sequence[AgentBatch]) -> AgentBatch:
    """Several agents' batches of equal widths as one."""

    def cat(parts):
        return None if parts[0] is None else torch.cat(parts)

    fields = [[getattr(batch, name) for batch in batches] for name in ("obs", "action", "log_prob", "alive", "mask")]
    memories = [batch.memory for batch in batches]
    memory = None if memories[0] is None else SequenceStart(*[torch.cat(parts) for parts in zip(*memories)])
    return AgentBatch(*[cat(parts) for parts in fields], memory)


def _trust_metrics(ratio: Tensor, alive: Tensor) -> Dict[str, Tensor]:
    """How far the policy moved: the k3 estimate of KL(old, new) (Schulman, 2020) and the mean ratio.

    A ratio may round to zero, after an unclipped step for one (HAA2C): such a row counts as the smallest float, 87 or 708
    nats, because an infinite metric ends a run, and this policy is a finite one.
    """
    log_ratio = ratio.clamp(min=torch.finfo(ratio.dtype).tiny).log()
    return {"kl": alive_mean(ratio - 1.0 - log_ratio, alive), "ratio": alive_mean(ratio, alive)}
