"""Agents' values of their own choices, and acting by them: networks as the on-policy algorithms', own or shared."""

from typing import List, Optional, Sequence, Tuple, Union

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec
from harl_isaac.networks.actors import Choice, StackedActors
from harl_isaac.networks.gru import SequenceStart
from harl_isaac.networks.heads import EpsilonGreedyHead
from harl_isaac.networks.joint_policy import Layers


class QActors(StackedActors):
    """The joint policy that takes the choices of the highest values; `heads` say what each agent's outputs are for."""

    def __init__(
        self,
        spec: EnvSpec,
        hidden: Sequence[int],
        activation: str,
        heads: Sequence[EpsilonGreedyHead],
        head_gain: float,
        recurrent: bool = False,
        shared: bool = False,
        with_id: bool = False,
    ):
        super().__init__(spec, hidden, activation, head_gain, recurrent, shared, with_id, distributions=heads)
        self.heads = list(heads)

    def values(self, obs: Sequence[Tensor], start: Optional[SequenceStart] = None) -> Tuple[List[Tensor], Tensor]:
        """Values A x [N, L, H_i] at observations A x [N, L, O_i] of N sequences.

        Recurrent networks go on from `start`, whose states are of all agents, [A, N, H]; their states after each step
        are returned too, [A, N, L, H] (of others nothing: H = 0).
        """
        agents = self.spec.num_agents
        inputs = [self._together(obs)] if self.shared else list(obs)
        results = []
        for number, (actor, x) in enumerate(zip(self.agents, inputs)):
            sequence = None
            if start is not None:
                hidden = start.hidden.flatten(0, 1) if self.shared else start.hidden[number]
                sequence = SequenceStart(hidden, start.episode_starts.repeat(len(x) // len(obs[0]), 1))
            value, states = actor.net.run(x, sequence)
            results.append((value, x[..., :0] if states is None else states))
        values = [value for value, _ in results]
        if self.shared:
            values = list(values[0].chunk(agents))
        return values, torch.cat([states for _, states in results]).unflatten(0, (agents, -1))

    def explore(
        self,
        obs: Tensor,
        mask: Optional[Tensor] = None,
        hidden: Optional[Tensor] = None,
        layers: Optional[Layers] = None,
        epsilon: Optional[Union[float, Tensor]] = None,
    ) -> Tensor:
        """The best actions or, of each agent and environment with probability `epsilon`, random ones, [E, A, W].

        Without `epsilon` it is the heads': where exploration ends.
        """
        best = self.mode(obs, mask, hidden, layers)
        drawn = torch.rand_like(best[..., :1])
        if epsilon is None:
            epsilon = self.heads[0].epsilon
        return torch.where(drawn < epsilon, self.random(len(obs), mask), best)

    def random(self, envs: int, mask: Optional[Tensor] = None) -> Tensor:
        """Uniformly random actions [E, A, W] of those allowed."""

        def choose(head: EpsilonGreedyHead, output: Tensor, _: Tensor, allowed: Optional[Tensor]) -> Choice:
            action = head.random(output, allowed)
            return action, action[..., 0]

        widest = max(head.head_size for head in self.heads)
        outputs = torch.zeros(envs, self.spec.num_agents, widest, device=self.spec.device)
        return self._act(outputs, mask, choose)[0]

    def _together(self, obs: Sequence[Tensor]) -> Tensor:
        """All agents' sequences as a shared network takes them, one agent's behind the other's: [A N, L, O]."""
        packed = self.empty_obs(*obs[0].shape[:2])
        for i, value in enumerate(obs):
            packed[..., i, : value.shape[-1]] = value
        return packed.movedim(2, 0).flatten(0, 1)
