"""The two schemes by which agents are updated in an iteration.

Sequential (Zhong et al., 2024, Algorithm 4 and Section 4.2): one by one, in random order, each against the policies
already updated in this iteration. Simultaneous (MAPPO, IPPO): each against the policies that acted.
"""

from typing import Callable, Dict, List, Optional, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.buffers.rollout import AgentBatch, Rollout
from harl_isaac.learning.gae import normalize
from harl_isaac.learning.metrics import alive_mean
from harl_isaac.networks.actors import Actor, StackedActors
from harl_isaac.networks.gru import SequenceStart

# (agent i, its batch, factor x advantage [B]) -> metrics of the update
UpdateAgent = Callable[[int, AgentBatch, Tensor], Dict[str, Tensor]]
ByAgent = Dict[int, Dict[str, Tensor]]
Scheme = Callable[..., Tuple[ByAgent, Tensor]]  # see sequential_update


def sequential_update(
    actors: StackedActors, rollout: Rollout, advantage: Tensor, order: Sequence[int], update_agent: UpdateAgent
) -> Tuple[ByAgent, Tensor]:
    """Update the agents in `order`; advantage [T, E, K]. Returns metrics by agent and the final factor [B].

    The advantage is normalized, then multiplied by the factor: the product of the probability ratios new / old of the
    agents before, which starts at one and carries no gradient. All ratios are to the policies that acted, also where
    agents share one network, which then moves with every agent's update.
    """
    own = agent_advantages(rollout, advantage)
    metrics: ByAgent = {}
    factor = torch.ones_like(own[0])
    for i in order:
        batch = rollout.agent(i)
        metrics[i] = update_agent(i, batch, factor * own[i])
        ratio = current_ratio(actors.agent(i), batch)
        metrics[i].update(trust_metrics(ratio, batch.alive), factor=alive_mean(factor, batch.alive))
        factor = factor * ratio
    return metrics, factor


def simultaneous_update(
    actors: StackedActors, rollout: Rollout, advantage: Tensor, order: Sequence[int], update_agent: UpdateAgent
) -> Tuple[ByAgent, Tensor]:
    """Update all agents at once, with a factor of one; a shared network is updated once, with all agents' rows.

    Arguments and returns are those of `sequential_update`.
    """
    own = agent_advantages(rollout, advantage, jointly=actors.shared)
    batches = {i: rollout.agent(i) for i in order}
    if actors.shared:
        joint_batch = concatenate([batches[i] for i in order])
        joint_advantage = torch.cat([own[i] for i in order])
        shared = update_agent(order[0], joint_batch, joint_advantage)
        metrics = {i: dict(shared) for i in order}
    else:
        metrics = {i: update_agent(i, batches[i], own[i]) for i in order}
    for i in order:
        ratio = current_ratio(actors.agent(i), batches[i])
        metrics[i].update(trust_metrics(ratio, batches[i].alive))
    return metrics, torch.ones_like(own[0])


def agent_advantages(rollout: Rollout, advantage: Tensor, jointly: bool = False) -> List[Tensor]:
    """Each agent's normalized advantage [B] from advantages [T, E, K], over the rows where it was alive.

    Advantages of its own for each agent (K = A) are normalized jointly, so that they stay comparable, as are those of
    agents that share a network.
    """
    alive = rollout.alive
    if jointly or advantage.shape[-1] > 1:
        each = normalize(advantage.expand_as(alive), alive).unbind(-1)
    else:
        each = [normalize(advantage[..., 0], alive[..., i]) for i in range(alive.shape[-1])]
    return [rollout.as_batch(value) for value in each]


@torch.no_grad()
def current_ratio(actor: Actor, batch: AgentBatch) -> Tensor:
    """pi_new(a|o) / pi_old(a|o) with the actor's current parameters, [B]."""
    log_prob, _ = actor.evaluate_actions(batch.obs, batch.action, batch.mask, batch.sequence)
    return batch.ratio(log_prob)


def concatenate(batches: Sequence[AgentBatch]) -> AgentBatch:
    """Several agents' batches of equal widths as one."""
    first = batches[0]
    mask: Optional[Tensor] = None
    if first.mask is not None:
        mask = torch.cat([batch.mask for batch in batches])
    sequence = None
    if first.sequence is not None:
        starts = [batch.sequence for batch in batches if batch.sequence is not None]
        hidden = torch.cat([start.hidden for start in starts])
        sequence = SequenceStart(hidden, torch.cat([start.episode_starts for start in starts]))
    return AgentBatch(
        obs=torch.cat([batch.obs for batch in batches]),
        action=torch.cat([batch.action for batch in batches]),
        log_prob=torch.cat([batch.log_prob for batch in batches]),
        alive=torch.cat([batch.alive for batch in batches]),
        mask=mask,
        sequence=sequence,
    )


def trust_metrics(
    ratio: Tensor, alive: Tensor, mean: Callable[[Tensor, Tensor], Tensor] = alive_mean
) -> Dict[str, Tensor]:
    """Size of the policy's move: the k3 estimate of KL(old, new) (Schulman, 2020) and the mean ratio.

    `mean` takes means over the rows where an agent was alive.

    A ratio may round to zero, after an unclipped step for one (HAA2C): such a row counts as the smallest float, 87 or
    708 nats, because an infinite metric ends a run, and this policy is a finite one.
    """
    log_ratio = ratio.clamp(min=torch.finfo(ratio.dtype).tiny).log()
    return {"kl": mean(ratio - 1.0 - log_ratio, alive), "ratio": mean(ratio, alive)}
