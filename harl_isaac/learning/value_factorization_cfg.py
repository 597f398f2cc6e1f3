"""Settings of the algorithms that factorize the joint value."""

from dataclasses import dataclass
from typing import List

from harl_isaac import ranks
from harl_isaac.env import EnvSpec
from harl_isaac.learning.estimates import check_batch, check_networks
from harl_isaac.learning.off_policy_cfg import ReplayCfg
from harl_isaac.networks.heads import EpsilonGreedyHead, greedy_heads
from harl_isaac.networks.q_actors import QActors
from harl_isaac.settings import INFINITY, MOST_STEPS, check_ranges


@dataclass
class FactorizationCfg(ReplayCfg):
    """Settings of every algorithm that learns a joint value made of the agents' values."""

    double_q: bool = True  # the networks choose the next actions, their targets value them; else targets do both
    target_interval: int = 0  # updates between targets that take over the whole networks; 0: follow by polyak
    epsilon_start: float = 1.0  # probability of a random choice while collecting, at first
    epsilon_finish: float = 0.05  # and from epsilon_steps on
    epsilon_steps: int = 50_000  # environment steps, the warmup's too, over which it falls linearly
    head_gain: float = 0.01  # orthogonal gain of the networks' last layer: the first values are small
    recurrent: bool = False  # a GRU as wide as the last hidden layer behind it
    chunk_length: int = 20  # L, steps through which a recurrent network is trained at once
    burn_in: int = 20  # steps before them that only bring its state up to date, beginning with zeros
    share_param: bool = False  # one network for all agents
    agent_id: bool = True  # a shared network observes the agent's number too

    def check(self, spec: EnvSpec) -> None:
        """Raise ValueError, with both numbers, for settings that cannot run."""
        super().check(spec)
        check_ranges(self, [("epsilon_start", 0, 1), ("epsilon_finish", 0, 1), ("epsilon_steps", 1, INFINITY)])
        check_ranges(self, [("target_interval", 0, INFINITY), ("burn_in", 0, MOST_STEPS)])
        check_ranges(self, [("head_gain", 0, INFINITY)])
        check_ranges(self, [("chunk_length", 1, INFINITY)])
        rows = self.batch_size
        if self.recurrent:
            self._check_sequences(spec)
            rows += self.burn_in * (self.batch_size // self.chunk_length)
            check_batch(spec, rows, 1)
        networks = [(size, head.head_size) for size, head in zip(spec.obs_sizes, self.heads(spec))]
        check_networks(spec, self, networks[: 1 if self.share_param else None], rows, self.recurrent)

    def _check_sequences(self, spec: EnvSpec) -> None:
        """Raise ValueError where sequences cannot be drawn from the batch's size or the replay's."""
        if self.n_step != 1:
            raise ValueError(f"algo.n_step={self.n_step} with algo.recurrent=true, which takes single steps; give 1")
        if self.batch_size % (self.chunk_length * ranks.world()):
            raise ValueError(
                f"algo.chunk_length={self.chunk_length} does not divide algo.batch_size={self.batch_size} "
                "into whole sequences" + (f" for each of {ranks.world()} processes" if ranks.world() > 1 else "")
            )
        everywhere = spec.num_envs * ranks.world()
        steps = min(-(-self.warmup_steps // everywhere), self.buffer_size // everywhere)
        if steps < self.chunk_length:
            raise ValueError(
                f"algo.chunk_length={self.chunk_length} is more than the {steps} steps of each environment before the "
                f"first update; give algo.warmup_steps and algo.buffer_size at least {self.chunk_length * everywhere}"
            )

    def heads(self, spec: EnvSpec) -> List[EpsilonGreedyHead]:
        """Each agent's policy head. Raises ValueError for continuous actions."""
        return greedy_heads(spec, self.epsilon_finish, self.name)

    def actors(self, spec: EnvSpec) -> QActors:
        """New policies for environments of this spec. Raises ValueError for agents that cannot share a network."""
        switches = (self.recurrent, self.share_param, self.agent_id)
        return QActors(spec, self.hidden, self.activation, self.heads(spec), self.head_gain, *switches)
