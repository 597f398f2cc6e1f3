"""What the particle tasks share: discs that push themselves over a plane and speak, one step, the reset.

Source: mpe2 1.1.1 (version=v3) and PettingZoo 1.22 (version=v2, of the experiments of Zhong et al., 2024), whose physics,
observations and rewards these are (Lowe et al., 2017; Mordatch and Abbeel, 2018). v2 differs: a position moves by the
velocity after the push instead of before, continuous pushes point the other way, a disc of simple_spread always collides
with itself. Only where two discs lie at exactly the same place, which would be NaN there, do they not push each other here.

The worlds are the columns of one table [W, E]: positions of agents and landmarks, velocities of those agents that move, words
spoken, colours and places of the goals, a zero. Every number seen is a difference of two of its rows. Environments lie side by
side in memory, so that an operation on few numbers of many worlds is one on long vectors; views of the table have the usual
axes [E, ...].
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Dict, List, Optional, Tuple

import torch
import torch.nn.functional as F
from torch import Tensor

from harl_isaac.env import Box, Discrete, EnvSpec, Step

SECONDS = 0.1  # [s] of a step
DAMPING = 0.25  # share of the velocity that a step takes away
PUSH = 5.0  # [N] of a whole action; every disc weighs 1 kg
CONTACT_FORCE = 100.0  # [N/m] of penetration
CONTACT_MARGIN = 1e-3  # [m] over which a contact sets in
MOVES = 5  # stay, left, right, down, up
TINY = 1e-12  # [m]
REACHED = 0.1  # [m] mpe2's distance within which a landmark counts as covered
Sight = Tuple[str, int, str, int]  # of two rows: group and place, less group and place


@dataclass
class ParticleCfg:
    """Settings of every particle task."""

    continuous: bool = True  # pushes and words as numbers within [0, 1]; false: one choice of a push (and a word)
    version: str = "v3"  # v3 (mpe2), v2 (PettingZoo 1.22, of the paper's experiments)
    reward: str = "team"  # team (the sum over agents, as in the paper), agent (each its own)
    episode_length: int = 25


class ParticleTask:
    """Implements `harl_isaac.env.MultiAgentEnv`. A scenario says who there is, what is seen and what it is worth."""

    names: Tuple[str, ...]  # of agents
    landmarks: int
    movers: Tuple[int, ...]  # agents that move, the last ones
    speakers: Tuple[int, ...] = ()  # agents that speak
    words: int = 0  # a speaker's
    palette: Tuple[Tuple[float, float, float], ...] = ()  # landmarks' colours, by which goals are named
    goals: int = 0  # landmarks that somebody is to be led to
    radius: float  # [m] of an agent
    landmark_radius: float  # [m]
    collide = False  # agents push each other
    metrics = ("success", "distance")

    def __init__(self, cfg: ParticleCfg, num_envs: int, device: torch.device, dtype: torch.dtype = torch.float32):
        check(cfg)
        self.cfg, self.dtype = cfg, dtype
        self.random = torch.Generator(device=device)
        self._lay_out(num_envs, device)
        self._index_sights(device)
        self._index_actions(device)
        self.progress = torch.zeros(num_envs, dtype=torch.int32, device=device)  # [E] steps in this episode
        self._colours = torch.tensor(self.palette, dtype=dtype, device=device)  # [L, 3]
        self._all = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._none = ~self._all
        self.spec = EnvSpec(
            num_envs=num_envs, agents=self.names, obs_sizes=tuple(self._widths), actions=self._spaces(),
            state_size=sum(self._widths), max_episode_steps=cfg.episode_length, device=device,
            reward_agents=1 if cfg.reward == "team" else len(self.names), metrics=self.metrics)

    def reset(self, seed: Optional[int] = None) -> Step:
        if seed is not None:
            self.random.manual_seed(seed)
        self._start_episodes(self._all)
        obs, state = self.observe()
        zero = torch.zeros(self.spec.num_envs, device=self.spec.device)
        return Step(obs, state, zero[:, None].expand(-1, self.spec.reward_agents), self._none, self._none, obs, state,
                    {name: zero for name in self.metrics})

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Act, move, observe, reward, reset, observe again."""
        self._act(actions)
        self.progress.add_(1)
        truncated = self.progress >= self.spec.max_episode_steps
        next_obs, next_state = self.observe()
        rewards, metrics = self.score(truncated)
        if self.cfg.reward == "team":
            rewards = rewards.sum(1, keepdim=True)
        self._start_episodes(truncated)
        obs, state = self.observe()
        return Step(obs, state, rewards, self._none, truncated, next_obs, next_state, metrics)

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, O_i] and the state [E, 1, S], which is all of them in a row, as new tensors."""
        pairs = self.table.index_select(0, self._rows)
        seen = torch.sub(*pairs.chunk(2)).t()
        return seen.split(self._widths, 1), seen[:, None]

    def state_dict(self) -> Dict[str, Any]:
        return {"random": self.random.get_state(), **{name: value.clone() for name, value in self.buffers().items()}}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        self.random.set_state(state["random"])
        for name, value in self.buffers().items():
            value.copy_(state[name])

    def close(self) -> None:
        """Nothing to release."""

    # What a scenario says, beside its attributes.

    def sights(self) -> List[List[Sight]]:
        """What each agent sees, number by number."""
        raise NotImplementedError

    def score(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Rewards [E, A] and metrics of the running episodes, of which those with ended [E] are over now."""
        raise NotImplementedError

    def buffers(self) -> Dict[str, Tensor]:
        """Tensors [E, ...] that a checkpoint must hold."""
        return {"table": self.table, "progress": self.progress}

    def started(self, mask: Tensor) -> None:
        """New episodes began where mask [E] is true."""

    # The world.

    def _lay_out(self, num_envs: int, device: torch.device) -> None:
        """The table, views of its groups of rows, and room for worlds to come."""
        agents, movers = len(self.names), len(self.movers)
        sizes = {"agent": 2 * agents, "landmark": 2 * self.landmarks, "velocity": 2 * movers,
                 "speech": self.words * len(self.speakers), "colour": 3 * self.goals, "goal": 2 * self.goals, "zero": 1}
        self._starts = dict(zip(sizes, [0, *accumulate(sizes.values())]))
        self.table = torch.zeros(sum(sizes.values()), num_envs, dtype=self.dtype, device=device)
        parts = dict(zip(sizes, self.table.split(list(sizes.values()))))
        self.agent = points(parts["agent"])  # [E, A, 2] m
        self.landmark = points(parts["landmark"])  # [E, L, 2] m
        self.place = points(self.table[:2 * (agents + self.landmarks)])  # [E, A + L, 2] m, both
        self.velocity = points(parts["velocity"])  # [E, M, 2] m/s
        self.speech = parts["speech"].t()  # [E, speakers x words]
        self.goal_colour = parts["colour"].t()  # [E, 3G]
        self.goal = points(parts["goal"])  # [E, G, 2] m, places of landmarks
        self._moving = self.agent[:, agents - movers:]  # [E, M, 2] m
        self._next = torch.zeros_like(self.table)  # worlds to come: drawn places and goals, the rest zero
        fresh = dict(zip(sizes, self._next.split(list(sizes.values()))))
        self._next_places = self._next[:2 * (agents + self.landmarks)]
        self._next_landmark, self._next_goal = points(fresh["landmark"]), points(fresh["goal"])
        self._next_colour = fresh["colour"].t()

    def _index_sights(self, device: torch.device) -> None:
        sights = self.sights()
        self._widths = [len(part) for part in sights]
        row = [sight for part in sights for sight in part]
        rows = [self._starts[a] + i for a, i, _, _ in row] + [self._starts[b] + j for _, _, b, j in row]
        self._rows = torch.tensor(rows, device=device)

    def _spaces(self) -> Tuple:
        spaces = []
        for i in range(len(self.names)):
            moves, words = MOVES if i in self.movers else 0, self.words if i in self.speakers else 0
            spaces.append(Box(moves + words, 0.0, 1.0) if self.cfg.continuous else Discrete((moves or 1) * (words or 1)))
        return tuple(spaces)

    def _index_actions(self, device: torch.device) -> None:
        """Of numbers: the columns that push ahead, those that push back, the words. Of choices: what each of them means."""
        ahead, back, words, rows, start = [], [], [], [], 0
        width = 2 * len(self.movers) + self.words * len(self.speakers)
        for i, space in enumerate(self._spaces()):
            if isinstance(space, Discrete):
                rows.append(self._choices(i, space.n, width))
                continue
            if i in self.movers:
                ahead += [start + 2, start + 4]
                back += [start + 1, start + 3]
            if i in self.speakers:
                words += range(start + space.size - self.words, start + space.size)
            start += space.size
        if self.cfg.version == "v2":
            ahead, back = back, ahead
        self._action_columns = torch.tensor(ahead + back + words, device=device)
        if rows:
            self._action_rows = torch.cat(rows).to(device)  # [sum of choices, width]
            starts = [0, *accumulate(len(part) for part in rows)][:-1]
            self._row_starts = torch.tensor(starts, device=device)

    def _choices(self, agent: int, count: int, width: int) -> Tensor:
        """[count, width] pushes and words of one agent's choices: a word for each move, all moves for a word in turn."""
        rows = torch.zeros(count, width, dtype=self.dtype)
        moves = MOVES if agent in self.movers else 1
        for choice in range(count):
            move, word = choice % moves, choice // moves
            if move:
                axis = 2 * self.movers.index(agent) + (move - 1) // 2
                rows[choice, axis] = 1.0 if move % 2 == 0 else -1.0
            if agent in self.speakers:
                rows[choice, 2 * len(self.movers) + self.words * self.speakers.index(agent) + word] = 1.0
        return rows

    def _act(self, actions: Tuple[Tensor, ...]) -> None:
        """Move as the actions push, and say what they say."""
        action, pushes = torch.cat(actions, 1), 2 * len(self.movers)
        if self.cfg.continuous:
            taken = action.t().index_select(0, self._action_columns).t()
            moves, words = taken[:, :pushes] - taken[:, pushes:2 * pushes], taken[:, 2 * pushes:]
        else:
            rows = self._action_rows.index_select(0, (action + self._row_starts).flatten())
            taken = rows.view(action.shape[0], len(self.names), -1).sum(1)
            moves, words = taken[:, :pushes], taken[:, pushes:]
        self._move(moves.unflatten(1, (-1, 2)))
        if self.speakers:
            self.speech.copy_(words)

    def _move(self, moves: Tensor) -> None:
        """A step of SECONDS with pushes [E, M, 2] within [-1, 1]."""
        depths = penetrations(self.agent, 2.0 * self.radius) if self.collide else None
        if self.cfg.version == "v3":
            self._moving.add_(self.velocity, alpha=SECONDS)
        self.velocity.mul_(1.0 - DAMPING).add_(moves, alpha=PUSH * SECONDS)
        if self.collide:
            self.velocity.add_(depths, alpha=CONTACT_FORCE * SECONDS)
        if self.cfg.version == "v2":
            self._moving.add_(self.velocity, alpha=SECONDS)

    def _start_episodes(self, mask: Tensor) -> None:
        """Where mask [E]: all places and goals are drawn anew, in every environment on its own."""
        self._next_places.uniform_(-1.0, 1.0, generator=self.random)
        if self.goals:
            self._draw_goals()
        torch.where(mask, self._next, self.table, out=self.table)
        self.progress.masked_fill_(mask, 0)
        self.started(mask)

    def _draw_goals(self) -> None:
        """Colours and places of goals among the landmarks of the worlds to come."""
        envs = self._next.shape[1]
        index = torch.randint(self.landmarks, (envs, self.goals), generator=self.random, device=self._next.device)
        self._next_colour.copy_(self._colours.index_select(0, index.flatten()).view(envs, -1))
        self._next_goal.copy_(self._next_landmark.gather(1, index[..., None].expand(-1, -1, 2)))


def check(cfg: ParticleCfg) -> None:
    """Raises ValueError for settings that mean nothing."""
    for name, possible in (("version", ("v3", "v2")), ("reward", ("team", "agent"))):
        if getattr(cfg, name) not in possible:
            raise ValueError("task.%s=%s; possible: %s" % (name, getattr(cfg, name), ", ".join(possible)))
    if cfg.episode_length < 1:
        raise ValueError("task.episode_length=%d must be at least 1" % cfg.episode_length)


def check_ratio(local_ratio: float) -> None:
    """Raises ValueError outside of [0, 1]."""
    if not 0.0 <= local_ratio <= 1.0:
        raise ValueError("task.local_ratio=%g must lie within [0, 1]: the share of an agent's own reward" % local_ratio)


def points(rows: Tensor) -> Tensor:
    """Rows [2n, E] of a table, seen as [E, n, 2]."""
    return rows.unflatten(0, (-1, 2)).permute(2, 0, 1)


def distance(one: Tensor, other: Tensor) -> Tensor:
    """[...] m between points [..., 2]."""
    return torch.hypot(*(one - other).unbind(-1))


def penetrations(place: Tensor, touching: float) -> Tensor:
    """[E, A, 2] m of penetration that discs at [E, A, 2] feel from all others closer than `touching` m, or little farther."""
    away = place[:, :, None] - place[:, None]  # [E, A, A, 2]
    apart = torch.hypot(*away.unbind(-1))
    penetration = F.softplus(touching - apart, beta=1.0 / CONTACT_MARGIN)
    return (away * penetration.div_(apart.clamp_min_(TINY))[..., None]).sum(2)


def landmark_sights(agent: int, landmarks: int) -> List[Sight]:
    """Where the landmarks lie, seen from an agent."""
    return [("landmark", 2 * k + i, "agent", 2 * agent + i) for k in range(landmarks) for i in (0, 1)]


def own(group: str, first: int, size: int) -> List[Sight]:
    """Numbers of a group as they are."""
    return [(group, first + i, "zero", 0) for i in range(size)]
