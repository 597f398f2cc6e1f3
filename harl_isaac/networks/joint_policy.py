"""The policies of all agents as one: what acting asks of them, and the packed observations that they take."""

from typing import List, Optional, Protocol, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.acting import pack_agents
from harl_isaac.env import EnvSpec, Step, mask_width

Layers = List[
    Tuple[Tensor, Tensor]
]  # (weight [A, in, out], bias [A, 1, out]) of each layer, see JointPolicy.fused_layers
ActionGroup = Tuple[List[int], Union[slice, Tensor]]  # agents of one action space, and their index in the agent axis


class JointPolicy(Protocol):
    """The policies of all agents: StackedActors of the on-policy algorithms, OffPolicyActors of the off-policy ones."""

    hidden_size: int  # H of a recurrent policy's state [E, A, H], else 0

    def empty_obs(self, *lead: int) -> Tensor:
        """A new buffer for padded observations, [*lead, A, O]."""

    def fused_layers(self) -> Layers:
        """The layers of all agents, prepared for acting many times with the same parameters."""

    def mode(self, obs: Tensor, mask: Optional[Tensor], hidden: Optional[Tensor], layers: Optional[Layers]) -> Tensor:
        """Most likely actions [E, A, W] at padded observations [E, A, O]; `hidden` [E, A, H] is updated in place."""


class ObservationPacker:
    """Packs the observations and action masks of a Step into padded tensors, as a joint policy takes them."""

    def __init__(self, spec: EnvSpec, actors: JointPolicy):
        widest = max(mask_width(space) for space in spec.actions)
        self.obs = actors.empty_obs(spec.num_envs)  # [E, A, O]
        self.mask = torch.zeros((spec.num_envs, spec.num_agents, widest), dtype=torch.bool, device=spec.device)

    def __call__(self, step: Step) -> Tuple[Tensor, Optional[Tensor]]:
        """Padded obs [E, A, O] and mask [E, A, N] (None without masks), valid until the next call."""
        pack_agents(self.obs, step.obs)
        if step.action_mask is None:
            return self.obs, None
        pack_agents(self.mask, step.action_mask)
        return self.obs, self.mask


def group_by_action_space(spec: EnvSpec) -> List[ActionGroup]:
    """Agents grouped by action space: [(members, their index in the agent axis: a slice if all, else a tensor)]."""
    groups: dict = {}
    for i, space in enumerate(spec.actions):
        groups.setdefault(space, []).append(i)
    if len(groups) == 1:
        return [(list(range(spec.num_agents)), slice(None))]
    return [(members, torch.tensor(members, device=spec.device)) for members in groups.values()]
