"""Sequences of a replay, for recurrent networks: consecutive steps of an environment, and the steps before them."""

from dataclasses import dataclass
from typing import List

import torch
from torch import Tensor

from harl_isaac.buffers.replay import GOES_ON, Batch, Replay


@dataclass
class SequenceBatch(Batch):
    """N sequences of L steps, whose B = N L transitions of one step lie sequence behind sequence.

    C more steps before each bring its recurrent state up to date. An episode's end in a sequence is where the next
    step begins another; what was overwritten before the oldest step stored counts as another episode.
    """

    earlier: List[Tensor]  # A x [N, C, O_i] observations before those of the sequences
    episode_starts: Tensor  # [N, C + L] bool: an episode begins with this step, of the earlier ones too


class SequenceReplay(Replay):
    """A replay from which sequences are drawn too."""

    def sample_sequences(self, count: int, length: int, burn_in: int, gamma: float) -> SequenceBatch:
        """Draw `count` sequences of `length` steps, uniformly and with replacement, with `burn_in` steps before."""
        drawn = torch.randint((self.filled - length + 1) * self.envs, (count,), device=self.device)
        return self.sequences(drawn // self.envs, drawn % self.envs, length, burn_in, gamma)

    def sequences(self, age: Tensor, env: Tensor, length: int, burn_in: int, gamma: float) -> SequenceBatch:
        """Sequences that end `age` [N] steps before the newest (0) of the environments `env` [N]."""
        back = torch.arange(burn_in + length - 1, -1, -1, device=age.device)
        ages = age[:, None] + back  # [N, C + L]
        batch = self.n_step_batch(ages[:, burn_in:].flatten(), env.repeat_interleave(length), 1, gamma)
        rows = self._rows(ages[:, :burn_in], env)
        *earlier, _ = self._read_observations(rows.flatten())
        before = self.outcome[self._rows(ages + 1, env), 0]
        starts = (before != GOES_ON) | (ages >= self.filled - 1)
        return SequenceBatch(
            **vars(batch),
            earlier=[value.unflatten(0, rows.shape) for value in earlier],
            episode_starts=self._to_env_device(starts),
        )

    def _rows(self, ages: Tensor, env: Tensor) -> Tensor:
        """Rows [N, L] of the steps `ages` [N, L] steps before the newest; of those not stored, any rows."""
        return env[:, None] * self.rows + (self.cursor - 1 - ages) % self.rows
