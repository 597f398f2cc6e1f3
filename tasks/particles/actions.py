"""Action spaces of a particle world: pushes of the agents that move, words of those that speak."""

from itertools import accumulate
from typing import List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import Box, Discrete, Space, action_width, mask_width

MOVES = 5  # stay, left, right, down, up


class ActionReader:
    """Pushes and words of `agents` agents, of which `mobile_agents` move and `speakers` have `words` words.

    `continuous`: numbers within [0, 1] for every move and word; else one choice, for each word all moves in turn.
    `mirrored`: numbers push the other way, as they did in PettingZoo 1.22.
    """

    def __init__(
        self,
        agents: int,
        mobile_agents: Tuple[int, ...],
        speakers: Tuple[int, ...],
        words: int,
        continuous: bool,
        mirrored: bool,
        device: torch.device,
    ):
        self.agents = agents
        self.mobile_agents = mobile_agents
        self.speakers = speakers
        self.words = words
        self.continuous = continuous
        self.device = device
        self.pushes = 2 * len(mobile_agents)
        self.spaces: Tuple[Space, ...] = tuple(self._space(i) for i in range(agents))
        if continuous:
            self._index_numbers(mirrored)
        else:
            self._index_choices()

    def __call__(self, actions: Tuple[Tensor, ...]) -> Tuple[Tensor, Optional[Tensor]]:
        """Pushes [E, M, 2] within [-1, 1], and words [E, speakers x words] or None, of actions A x [E, W_i]."""
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
        moves = MOVES if agent in self.mobile_agents else 0
        words = self.words if agent in self.speakers else 0
        return Box(moves + words, 0.0, 1.0) if self.continuous else Discrete((moves or 1) * (words or 1))

    def _index_numbers(self, mirrored: bool) -> None:
        """Columns of all actions side by side: those that push right and up, left and down, those that are words."""
        ahead: List[int] = []
        back: List[int] = []
        words: List[int] = []
        start = 0
        for i, space in enumerate(self.spaces):
            end = start + action_width(space)
            if i in self.mobile_agents:
                ahead += [start + 2, start + 4]
                back += [start + 1, start + 3]
            if i in self.speakers:
                words += range(end - self.words, end)
            start = end
        moves = back + ahead if mirrored else ahead + back
        self._columns = torch.tensor(moves + words, device=self.device)

    def _index_choices(self) -> None:
        """Pushes and words of every choice of every agent: [sum of choices, 2M + speakers x words]."""
        counts = [mask_width(space) for space in self.spaces]
        starts = [0, *accumulate(counts)]
        rows = torch.zeros(starts[-1], self.pushes + self.words * len(self.speakers))
        for i, count in enumerate(counts):
            moves = MOVES if i in self.mobile_agents else 1
            for choice in range(count):
                row = rows[starts[i] + choice]
                move = choice % moves
                if move:
                    row[2 * self.mobile_agents.index(i) + (move - 1) // 2] = 1.0 if move % 2 == 0 else -1.0
                if i in self.speakers:
                    row[self.pushes + self.words * self.speakers.index(i) + choice // moves] = 1.0
        self._rows = rows.to(self.device)
        self._starts = torch.tensor(starts[:-1], device=self.device)
