"""A step of all actors at once, each against the others' stored actions: what MADDPG and MATD3 do.

The same steps as one actor after the other, since none of them depends on another's: the actors' passes, those of the
critic and Adam's kernel are one each.
"""

from typing import Any, Dict, List, Sequence

import torch
from torch import Tensor

from harl_isaac.acting import pack_agents
from harl_isaac.buffers.replay import Batch
from harl_isaac.buffers.rollout import RowIndex
from harl_isaac.learning.batching import chunks
from harl_isaac.learning.gradient import clip_scale, set_gradients, sum_over_parts
from harl_isaac.learning.learner import Metrics
from harl_isaac.learning.metrics import living_of_each
from harl_isaac.learning.optimizers import parameters_of, step_together


class JointActorStep:
    """Steps of a learner's deterministic actors, which are networks of one shape but for their widths."""

    def __init__(self, learner: Any):
        self.learner = learner
        spec = learner.spec
        widths = [head.features for head in learner.actors.heads]
        begins = [spec.state_agents * spec.state_size + sum(widths[:i]) for i in range(len(widths))]
        offset = torch.arange(max(widths), device=spec.device)
        first = torch.tensor(begins, device=spec.device)
        self.used = offset < torch.tensor(widths, device=spec.device)[:, None]  # [A, W] within an agent's width
        self.columns = torch.where(self.used, first[:, None] + offset, 0)  # [A, W] of actions in the critic's input
        self.values = torch.arange(spec.num_agents, device=spec.device) % spec.reward_agents  # each one's reward

    def __call__(self, batch: Batch, agents: Sequence[int]) -> Dict[int, Metrics]:
        """One step of each of `agents` down minus the critic's value of its action; returns metrics by agent."""
        learner = self.learner
        actors = learner.actors
        optimizers = {i: learner.optimizers[i] for i in agents}
        parameters = [parameter for optimizer in optimizers.values() for parameter in parameters_of(optimizer)]
        obs = actors.empty_obs(len(batch.state))
        pack_agents(obs, batch.obs)
        stored = learner.joint(batch.state, learner.replayed_actions(batch))
        count = living_of_each(batch.alive)

        def gradients_of(part: RowIndex) -> List[Tensor]:
            value = self._values(obs[part], stored[part])
            losses = -(value * batch.alive[part]).sum(0) / count
            return [*torch.autograd.grad(losses.sum(), parameters), losses.detach()]

        rows = len(batch.state)
        parts = chunks(slice(0, rows), rows, obs.device, max(learner.cfg.hidden), len(self.values))
        *gradients, losses = sum_over_parts(gradients_of, parts)
        norms = clip_each(gradients, len(agents), learner.cfg.max_grad_norm)
        with learner.skip_dead(batch.alive, optimizers):
            set_gradients(parameters, gradients)
            step_together(list(optimizers.values()))
        return {i: {"loss": losses[i], "grad_norm": norm} for i, norm in zip(agents, norms)}

    def _values(self, obs: Tensor, stored: Tensor) -> Tensor:
        """The critic's value [b, A] of each agent's action beside the others' stored ones.

        The critic's first layer sees the same input for all agents but for the own action: it is computed once, for the
        stored actions, and changed for each agent by what its own makes different there.
        """
        actors = self.learner.actors
        net = self.learner.critic.nets[0]
        own = torch.tanh(actors.outputs(obs, actors.stacked_layers()))  # [b, A, W]
        change = (own - stored[:, self.columns]) * self.used
        weight = net.layers[0].weight.t()[self.columns]  # [A, W, H]
        x = torch.baddbmm(net.layers[0](stored).expand(len(self.values), -1, -1), change.transpose(0, 1), weight)
        value = net.after_first(x)  # [A, b, R]
        index = self.values[:, None, None].expand(-1, value.shape[1], 1)
        return value.gather(2, index)[..., 0].t()


def clip_each(gradients: List[Tensor], networks: int, max_norm: float) -> Tensor:
    """Clip the gradients of networks of equally many parameters, one behind the other; returns their norms before.

    A `max_norm` of 0 clips nothing. The norms are [networks].
    """
    each = len(gradients) // networks
    norms = torch.stack(list(torch._foreach_norm(gradients))).view(networks, each).norm(dim=1)
    if max_norm:
        scale = clip_scale(norms, max_norm)
        torch._foreach_mul_(gradients, [scale[k // each] for k in range(len(gradients))])
    return norms
