"""Base of the particle tasks: discs that push themselves over a plane and speak, one step, the reset.

Source: mpe2 1.1.1 (version=v3) and PettingZoo 1.22 (version=v2, of the experiments of Zhong et al., 2024), whose
physics, observations and rewards these are (Lowe et al., 2017; Mordatch and Abbeel, 2018). v2 differs: a position moves
by the velocity after the push instead of before, continuous pushes point the other way, a disc of simple_spread always
collides with itself. One thing differs here: two discs at exactly the same point, which would be NaN there, do not push
each other.

The worlds are the columns of one table [W, E]: positions of agents and landmarks, velocities of those agents that move,
words spoken, colors and positions of the goals, a zero. Every number of an observation is a difference of two of its
rows. Environments lie side by side in memory, so that an operation on few numbers of many worlds is one on long
vectors; views of the table have the usual axes [E, ...].
"""

from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Dict, List, Optional, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, Step
from harl_isaac.memory import check_envs_fit
from harl_isaac.settings import MOST_STEPS, TaskCfg, check_choices, check_ranges
from harl_isaac.tasks.particles.actions import ActionReader
from harl_isaac.tasks.particles.geometry import penetrations, points
from harl_isaac.tasks.particles.observation import ObservationTerm

SECONDS = 0.1  # [s] of a step
DAMPING = 0.25  # fraction of the velocity that a step takes away
PUSH = 5.0  # [N] of a whole action; every disc weighs 1 kg
CONTACT_FORCE = 100.0  # [N/m] of penetration
GRAY = (0.25, 0.25, 0.25)  # mpe2's landmarks
BLUE = (0.35, 0.35, 0.85)  # mpe2's agents
REACHED = 0.1  # [m] mpe2's distance within which a landmark counts as covered


@dataclass
class ParticleCfg(TaskCfg):
    """Settings of every particle task."""

    continuous: bool = True  # pushes and words as numbers within [0, 1]; false: one choice of a push (and a word)
    version: str = "v3"  # v3 (mpe2), v2 (PettingZoo 1.22, of the paper's experiments)
    reward: str = "team"  # team (the sum over agents, as in the paper), agent (each its own)
    episode_length: int = 25  # [steps of 0.1 s]


class ParticleTask:
    """Base of the scenarios, which define agents, observations and rewards.

    Implements `harl_isaac.env.MultiAgentEnv`.
    """

    names: Tuple[str, ...]  # of agents
    landmarks: int  # their number
    mobile_agents: Tuple[int, ...]  # agents that move, the last ones
    speakers: Tuple[int, ...] = ()  # agents that speak
    words: int = 0  # in a speaker's vocabulary
    palette: Tuple[Tuple[float, float, float], ...] = ()  # landmarks' colors, by which goals are named
    goals: int = 0  # landmarks to which an agent is to be led
    radius: float  # [m] of an agent
    landmark_radius: float  # [m]
    collide = False  # agents push each other
    metrics: Tuple[str, ...] = ("success", "distance")
    control_seconds = SECONDS  # [s] of a step

    def __init__(self, cfg: ParticleCfg, num_envs: int, device: torch.device, dtype: torch.dtype = torch.float32):
        check(cfg)
        self.cfg = cfg
        self.dtype = dtype
        self.random = torch.Generator(device=device)
        terms = self.observation_terms()
        self._widths = [len(each) for each in terms]
        self._read = ActionReader(
            len(self.names), self.mobile_agents, self.speakers, self.words, cfg.continuous, cfg.version == "v2", device
        )
        self.spec = EnvSpec(
            num_envs=num_envs,
            agents=self.names,
            obs_sizes=tuple(self._widths),
            actions=self._read.spaces,
            state_size=sum(self._widths),
            max_episode_steps=cfg.episode_length,
            device=device,
            reward_agents=1 if cfg.reward == "team" else len(self.names),
            metrics=self.metrics,
        )
        check_envs_fit(self.spec)
        self._lay_out(num_envs, device)
        self._index_observations(terms, device)
        self.progress = torch.zeros(num_envs, dtype=torch.int32, device=device)  # [E] steps in this episode
        self._colors = torch.tensor(self.palette, dtype=dtype, device=device)  # [L, 3]
        self._all = torch.ones(num_envs, dtype=torch.bool, device=device)
        self._none = ~self._all

    def reset(self, seed: Optional[int] = None) -> Step:
        """Start E new episodes; a seed repeats everything that follows."""
        if seed is not None:
            self.random.manual_seed(seed)
        self._start_episodes(self._all)
        return Step.first(self.spec, *self.observe())

    def step(self, actions: Tuple[Tensor, ...]) -> Step:
        """Act, move, observe, reward, reset, observe again."""
        pushes, words = self._read(actions)
        self._move(pushes)
        if words is not None:
            self.speech.copy_(words)
        self.progress.add_(1)
        truncated = self.progress >= self.spec.max_episode_steps
        next_obs, next_state = self.observe()
        rewards, metrics = self.reward_and_metrics(truncated)
        if self.cfg.reward == "team":
            rewards = rewards.sum(1, keepdim=True)
        self._start_episodes(truncated)
        obs, state = self.observe()
        return Step(obs, state, rewards, self._none, truncated, next_obs, next_state, metrics)

    def observe(self) -> Tuple[Tuple[Tensor, ...], Tensor]:
        """Observations A x [E, O_i] and the state [E, 1, S], which is all of them side by side, as new tensors."""
        torch.index_select(self.table, 0, self._rows, out=self._pairs)
        state = torch.sub(*self._pairs.chunk(2)).t()
        return state.split(self._widths, 1), state[:, None]

    def state_dict(self) -> Dict[str, Any]:
        """The generator's state and copies of the buffers."""
        return {"random": self.random.get_state(), **{name: value.clone() for name, value in self.buffers().items()}}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self.random.set_state(state["random"])
        for name, value in self.buffers().items():
            value.copy_(state[name])

    def close(self) -> None:
        """Nothing to release."""

    def render_shapes(self) -> Tuple[Tensor, Tensor, Tensor]:
        """Discs of a picture, landmarks before agents: centers [E, n, 2] m, colors [E, n, 3].

        Then the words that are shown beside them, [E, speakers, words].
        """
        envs = self.spec.num_envs
        marks = self._colors if self.palette else self.table.new_tensor(GRAY)
        colors = torch.cat((marks.expand(envs, self.landmarks, 3), self.agent_colors()), 1)
        words = self.speech.reshape(envs, len(self.speakers), self.words)
        return torch.cat((self.landmark, self.agent), 1), colors, words

    def shape_radii(self) -> List[float]:
        """Radii of the discs, [n] m."""
        return [self.landmark_radius] * self.landmarks + [self.radius] * len(self.names)

    # What a scenario defines, beside its attributes.

    def observation_terms(self) -> List[List[ObservationTerm]]:
        """Terms of each agent's observation, one for each number."""
        raise NotImplementedError

    def reward_and_metrics(self, ended: Tensor) -> Tuple[Tensor, Dict[str, Tensor]]:
        """Rewards [E, A] and metrics [E] of the running episodes; ended [E] bool: episodes that are over now."""
        raise NotImplementedError

    def agent_colors(self) -> Tensor:
        """Colors of the agents in pictures, [E, A, 3]."""
        return self.table.new_tensor(BLUE).expand(self.spec.num_envs, len(self.names), 3)

    def buffers(self) -> Dict[str, Tensor]:
        """Tensors [E, ...] that a checkpoint must hold."""
        return {"table": self.table, "progress": self.progress}

    def started(self, mask: Tensor) -> None:
        """Adjust the scenario where new episodes began, mask [E] bool."""

    # The world.

    def _lay_out(self, num_envs: int, device: torch.device) -> None:
        """Create the table, views of its groups of rows, and a buffer for the next episodes' worlds."""
        agents = len(self.names)
        mobile = len(self.mobile_agents)
        sizes = {
            "agent": 2 * agents,
            "landmark": 2 * self.landmarks,
            "velocity": 2 * mobile,
            "speech": self.words * len(self.speakers),
            "color": 3 * self.goals,
            "goal": 2 * self.goals,
            "zero": 1,
        }
        self._starts = dict(zip(sizes, [0, *accumulate(sizes.values())]))
        self.table = torch.zeros(sum(sizes.values()), num_envs, dtype=self.dtype, device=device)
        parts = dict(zip(sizes, self.table.split(list(sizes.values()))))
        self.agent = points(parts["agent"])  # [E, A, 2] m
        self.landmark = points(parts["landmark"])  # [E, L, 2] m
        self.position = points(self.table[: 2 * (agents + self.landmarks)])  # [E, A + L, 2] m, both
        self.velocity = points(parts["velocity"])  # [E, M, 2] m/s
        self.speech = parts["speech"].t()  # [E, speakers x words]
        self.goal_color = parts["color"].t()  # [E, 3G]
        self.goal = points(parts["goal"])  # [E, G, 2] m, positions of landmarks
        self._moving = self.agent[:, agents - mobile :]  # [E, M, 2] m
        self._next = torch.zeros_like(self.table)  # next episodes' worlds: random positions and goals, the rest zero
        fresh = dict(zip(sizes, self._next.split(list(sizes.values()))))
        self._next_positions = self._next[: 2 * (agents + self.landmarks)]
        self._next_landmark = points(fresh["landmark"])
        self._next_goal = points(fresh["goal"])
        self._next_color = fresh["color"].t()

    def _index_observations(self, terms_of: List[List[ObservationTerm]], device: torch.device) -> None:
        """Rows of the table that make all agents' observations side by side: minuends, then subtrahends."""
        terms = [term for terms in terms_of for term in terms]
        minuends = [self._starts[term.group] + term.row for term in terms]
        subtrahends = [self._starts[term.origin] + term.origin_row for term in terms]
        self._rows = torch.tensor(minuends + subtrahends, device=device)
        self._pairs = self.table.new_empty(len(self._rows), self.table.shape[1])

    def _move(self, pushes: Tensor) -> None:
        """Integrate a step of SECONDS under pushes [E, M, 2] within [-1, 1]."""
        depths = penetrations(self.agent, 2.0 * self.radius) if self.collide else None
        if self.cfg.version == "v3":
            self._moving.add_(self.velocity, alpha=SECONDS)
        self.velocity.mul_(1.0 - DAMPING).add_(pushes, alpha=PUSH * SECONDS)
        if self.collide:
            self.velocity.add_(depths, alpha=CONTACT_FORCE * SECONDS)
        if self.cfg.version == "v2":
            self._moving.add_(self.velocity, alpha=SECONDS)

    def _start_episodes(self, mask: Tensor) -> None:
        """Draw new positions and goals, for every environment its own, and use them where mask [E] is true."""
        self._next_positions.uniform_(-1.0, 1.0, generator=self.random)
        if self.goals:
            self._draw_goals()
        torch.where(mask, self._next, self.table, out=self.table)
        self.progress.masked_fill_(mask, 0)
        self.started(mask)

    def _draw_goals(self) -> None:
        """Choose goals among the landmarks of the next episodes' worlds: their colors and positions."""
        envs = self._next.shape[1]
        index = torch.randint(self.landmarks, (envs, self.goals), generator=self.random, device=self._next.device)
        self._next_color.copy_(self._colors.index_select(0, index.flatten()).view(envs, -1))
        self._next_goal.copy_(self._next_landmark.gather(1, index[..., None].expand(-1, -1, 2)))


def check(cfg: ParticleCfg) -> None:
    """Raise ValueError for settings that mean nothing."""
    check_choices("task", cfg, (("version", ("v3", "v2")), ("reward", ("team", "agent"))))
    check_ranges(cfg, [("episode_length", 1, MOST_STEPS)], "task")


def check_ratio(local_ratio: float) -> None:
    """Raise ValueError outside of [0, 1]."""
    if not 0.0 <= local_ratio <= 1.0:
        raise ValueError(f"task.local_ratio={local_ratio:g} must lie within [0, 1]: the share of an agent's own reward")
