"""What agents' actions mean in a particle world: pushes of those that move, words of those that speak."""

from itertools import accumulate
from typing import Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, Space

MOVES = 5  # stay, left, right, down, up


class ActionReader:
    """Pushes and words of `agents` agents, of which `movers` move and `speakers` have `words` words.

    `continuous`: numbers within [0, 1] for every move and word; else one choice, for each word all moves in turn.
    `mirrored`: numbers push the other way, as they did in PettingZoo 1.22.
    """

    def __init__(
        self,
        agents: int,
        movers: Tuple[int, ...],
        speakers: Tuple[int, ...],
        words: int,
        continuous: bool,
        mirrored: bool,
        device: torch.device,
    ):
        self.agents = agents
        self.movers = movers
        self.speakers = speakers
        self.words = words
        self.continuous = continuous
        self.device = device
        self.pushes = 2 * len(movers)
        self.spaces = tuple(self._space(i) for i in range(agents))
        if continuous:
            self._index_numbers(mirrored)
        else:
            self._index_choices()

    def __call__(self, actions: Tuple[Tensor, ...]) -> Tuple[Tensor, Optional[Tensor]]:
        """Pushes [E, M, 2] within [-1, 1], and words [E, speakers x words] or None."""
        action = torch.cat(actions, 1)
        if self.continuous:
            taken = action.t().index_select(0, self._columns).t()
            pushes = taken[:, : self.pushes] - taken[:, self.pushes : 2 * self.pushes]
            words = taken[:, 2 * self.pushes :]
        else:
            rows = self._rows.index_select(0, (action + self._starts).flatten())
            pushes, words = rows.unflatten(0, (-1, self.agents)).sum(1).tensor_split([self.pushes], 1)
        return pushes.unflatten(1, (-1, 2)), words if self.speakers else None

    def _space(self, agent: int) -> Space:
        moves = MOVES if agent in self.movers else 0
        words = self.words if agent in self.speakers else 0
        return Box(moves + words, 0.0, 1.0) if self.continuous else Discrete((moves or 1) * (words or 1))

    def _index_numbers(self, mirrored: bool) -> None:
        """Columns of all actions in a row that push ahead (right, up), those that push back, those that are words."""
        ahead = []
        back = []
        words = []
        start = 0
        for i, space in enumerate(self.spaces):
            if i in self.movers:
                ahead += [start + 2, start + 4]
                back += [start + 1, start + 3]
            if i in self.speakers:
                words += range(start + space.size - self.words, start + space.size)
            start += space.size
        if mirrored:
            ahead, back = back, ahead
        self._columns = torch.tensor(ahead + back + words, device=self.device)

    def _index_choices(self) -> None:
        """What every choice of every agent adds to pushes and words: [sum of choices, 2M + speakers x words]."""
        counts = [space.n for space in self.spaces]
        starts = [0, *accumulate(counts)]
        rows = torch.zeros(starts[-1], self.pushes + self.words * len(self.speakers))
        for i, count in enumerate(counts):
            moves = MOVES if i in self.movers else 1
            for choice in range(count):
                row = rows[starts[i] + choice]
                move = choice % moves
                if move:
                    row[2 * self.movers.index(i) + (move - 1) // 2] = 1.0 if move % 2 == 0 else -1.0
                if i in self.speakers:
                    row[self.pushes + self.words * self.speakers.index(i) + choice // moves] = 1.0
        self._rows = rows.to(self.device)
        self._starts = torch.tensor(starts[:-1], device=self.device)
