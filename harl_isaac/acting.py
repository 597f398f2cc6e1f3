"""Acting for all agents at once: the joint policy's interface, packing of observations, actions in the environment's units."""

from typing import List, Optional, Protocol, Sequence, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, EnvSpec, Step, action_width, mask_width

FEW_ROWS = 256  # environments x agents up to which acting is left to one thread of the CPU
Layers = List[Tuple[Tensor, Tensor]]  # (weight [A, in, out], bias [A, 1, out]) of each layer


class JointPolicy(Protocol):
    """What plays: the on-policy algorithms' StackedActors, the off-policy ones' OffPolicyActors."""

    hidden_size: int  # of a recurrent policy's state [E, A, H], else 0

    def empty_obs(self, *lead: int) -> Tensor:
        """Room for padded observations, [*lead, A, O]."""

    def fused_layers(self) -> List[Tuple[Tensor, Tensor]]:
        """Layers prepared for acting many times with the same parameters."""

    def mode(self, obs: Tensor, mask: Optional[Tensor], hidden: Optional[Tensor], layers) -> Tensor:
        """The best actions [E, A, W]."""


class ObservationPacker:
    """All agents' observations and action masks of a Step side by side, as a joint policy takes them."""

    def __init__(self, spec: EnvSpec, actors: JointPolicy):
        self.obs = actors.empty_obs(spec.num_envs)  # [E, A, O]
        widest = max(mask_width(space) for space in spec.actions)
        self.mask = torch.zeros((spec.num_envs, spec.num_agents, widest), dtype=torch.bool, device=spec.device)

    def __call__(self, step: Step) -> Tuple[Tensor, Optional[Tensor]]:
        """Padded obs [E, A, O] and mask [E, A, N], valid until the next call."""
        pack_agents(self.obs, step.obs)
        pack_agents(self.mask, step.action_mask or ())
        return self.obs, self.mask if step.action_mask is not None else None


def pack_agents(room: Tensor, parts: Sequence[Tensor]) -> None:
    """Agents' tensors A x [E, W_i] into padded room [E, A, W]; what lies beyond an agent's width is left as it is."""
    for i, part in enumerate(parts):
        room[:, i, : part.shape[1]] = part


def to_env(spec: EnvSpec, action: Tensor) -> Tuple[Tensor, ...]:
    """The policies' padded actions [E, A, W] in each agent's own units, bounds and type: A x [E, W_i]."""
    if any(isinstance(space, Box) for space in spec.actions):
        bounded = action.clamp(-1.0, 1.0)
    return tuple(
        _in_units(space, bounded[:, i, : space.size])
        if isinstance(space, Box)
        else action[:, i, : action_width(space)].long()
        for i, space in enumerate(spec.actions)
    )


def _in_units(space: Box, action: Tensor) -> Tensor:
    half = (space.high - space.low) / 2
    middle = (space.high + space.low) / 2
    return action if half == 1.0 and middle == 0.0 else action * half + middle


def group_by_action_space(spec: EnvSpec):
    """Agents grouped by action space: [(members, their place in the agent axis: a slice if all, else an index)]."""
    groups = {}
    for i, space in enumerate(spec.actions):
        groups.setdefault(space, []).append(i)
    if len(groups) == 1:
        return [(list(range(spec.num_agents)), slice(None))]
    return [(members, torch.tensor(members, device=spec.device)) for members in groups.values()]
