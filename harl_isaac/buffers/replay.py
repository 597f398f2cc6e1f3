"""What the agents lived through lately: one ring of tensors on the device, which holds each transition once.

An environment's steps lie behind one another: what a step led to is the next row, and n steps are read in one piece. Only
where an episode was truncated is it another, and that true successor lies in a smaller ring at the end. (A terminated
step's is worth nothing.) What is read together lies together, because a large replay is read at the speed of memory's latency.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

import torch
from torch import Tensor

from harl_isaac.acting import FEW_ROWS, to_env
from harl_isaac.buffers.placement import replay_place
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.runtime import one_thread

# outcomes of a step; a truncated one's is the number of the truncation, from 1 on
GOES_ON = 0
TERMINATED = -1
DTYPES = {"float32": None, "float16": torch.float16}  # of observations and states; None: torch's default
KEPT = ("seen", "action", "reward", "outcome", "mask", "alive")
INTEGER = {torch.float32: torch.int32, torch.float64: torch.int64}  # as wide


@dataclass
class Batch:
    """B transitions of n steps each, fewer where the episode or the replay ended before."""

    obs: List[Tensor]  # A x [B, O_i]
    state: Tensor  # [B, K S]
    action: List[Tensor]  # A x [B, W_i] in the policies' units
    reward: Tensor  # [B, R] sum of gamma^k r_k over the steps taken
    discount: Tensor  # [B, 1] gamma^(steps taken), 0 where the episode terminated
    next_obs: List[Tensor]  # A x [B, O_i] true successors of the last step taken
    next_state: Tensor  # [B, K S]
    known: Tensor  # [B, 1] float: 0 where a truncated step's successor is no longer there
    alive: Tensor  # [B, A] float: 1 where the agent acted
    next_alive: Tensor  # [B, A]; as `alive` of the last step taken where it was truncated
    mask: List[Optional[Tensor]]  # A x [B, N_i] bool
    next_mask: List[Optional[Tensor]]  # all true at the successor of a truncated step, whose mask nobody tells


class Replay:
    """The last `capacity` transitions (whole steps of all environments) in tensors allocated once, on the environments' device
    or on the host, from where batches are copied (`place`: auto takes the host where the device is too small).

    Raises ValueError, before anything is allocated, where they do not fit. Rooms for true successors suffice for
    episodes truncated after half of `max_episode_steps` on average; where they are more, the oldest are forgotten, and a
    transition that needs one is not `known`.
    """

    def __init__(self, spec: EnvSpec, capacity: int, dtype: str = "float32", place: str = "auto"):
        if capacity < spec.num_envs:
            raise ValueError(f"algo.buffer_size={capacity} holds not one step of num_envs={spec.num_envs}; give more")
        # in steps
        self.spec = spec
        self.envs = spec.num_envs
        self.capacity = capacity // spec.num_envs
        self.rows = self.capacity + 1  # one more for what is seen now: the successors of the newest transitions
        self.ring = self.rows * self.envs
        self.room = self.envs * min(self.capacity, 2 * (self.capacity // spec.max_episode_steps) + 2)
        self.obs_sizes = list(spec.obs_sizes)
        self.widths = [action_width(space) for space in spec.actions]
        self.choices = [mask_width(space) for space in spec.actions]
        shapes = self._shapes(DTYPES[dtype] or torch.get_default_dtype())
        self.bytes = sum(
            rows * width * torch.empty(0, dtype=kind).element_size() for rows, width, kind in shapes.values()
        )
        self.device = replay_place(self.bytes, self.capacity * self.envs, spec.device, place)
        for name, (rows, width, kind) in shapes.items():
            setattr(self, name, torch.zeros(rows, width, dtype=kind, device=self.device))
        self.mask[self.ring :] = True
        self.count = torch.zeros((), dtype=torch.long, device=self.device)  # truncations so far
        # the row of what is seen now; steps stored
        self.cursor = 0
        self.filled = 0

    def _shapes(self, dtype: torch.dtype) -> Dict[str, Any]:
        # the last row takes what need not be kept
        spec = self.spec
        wide = self.ring + self.room + 1
        seen = sum(self.obs_sizes) + spec.state_agents * spec.state_size
        masks = sum(self.choices) if spec.has_action_mask else 0
        agents = spec.num_agents if spec.has_alive else 0
        return {
            "seen": (wide, seen, dtype),
            "taken": (self.ring, self.joint + spec.reward_agents + 1, torch.get_default_dtype()),
            "mask": (wide, masks, torch.bool),
            "alive": (wide, agents, torch.bool),
        }

    @property
    def joint(self) -> int:
        """Width of all agents' actions."""
        return sum(self.widths)

    @property
    def action(self) -> Tensor:
        """[rows, all agents' widths] of `taken`."""
        return self.taken[:, : self.joint]

    @property
    def reward(self) -> Tensor:
        """[rows, R] of `taken`."""
        return self.taken[:, self.joint : -1]

    @property
    def outcome(self) -> Tensor:
        """[rows, 1] of `taken`: whole numbers in the place of a real one."""
        return self.taken[:, -1:].view(INTEGER[self.taken.dtype])

    def see(self, step: Step) -> None:
        """What the agents are about to act on."""
        self._now("seen").copy_(torch.cat((*step.obs, step.state.flatten(1)), 1))
        if step.action_mask is not None:
            self._now("mask").copy_(torch.cat([mask for mask, size in zip(step.action_mask, self.choices) if size], 1))
        if step.alive is not None:
            self._now("alive").copy_(step.alive)

    def write(self, action: Tensor, step: Step) -> None:
        """The policies' padded actions [E, A, W] at what was seen last, and what they led to."""
        self._now("action").copy_(torch.cat([action[:, i, :width] for i, width in enumerate(self.widths)], 1))
        self._now("reward").copy_(step.reward)
        terminated = step.terminated.to(self.device)
        truncated = step.truncated.to(self.device)
        number = self.count + truncated.cumsum(0)
        self._now("outcome")[:, 0] = terminated * TERMINATED + truncated * number
        self._succeed(truncated, number, self._now("alive"), torch.cat((*step.next_obs, step.next_state.flatten(1)), 1))
        self.count += truncated.sum()
        self.cursor = (self.cursor + 1) % self.rows
        self.filled = min(self.filled + 1, self.capacity)
        self.see(step)

    def cut(self) -> None:
        """The running episodes end with what is seen now, as if a time limit had struck."""
        before = (self.cursor - 1) % self.rows
        latest = self._by_env("outcome")[:, before, 0]
        running = latest == GOES_ON if self.filled else torch.zeros_like(latest, dtype=torch.bool)
        number = self.count + running.cumsum(0)
        self._succeed(running, number, self._by_env("alive")[:, before], self._now("seen"))
        latest.copy_(torch.where(running, number.to(latest.dtype), latest))
        self.count += running.sum()

    def sample(self, size: int, n_step: int, gamma: float) -> Batch:
        """`size` transitions of up to `n_step` steps, uniformly and with replacement."""
        drawn = torch.randint(self.filled * self.envs, (size,), device=self.device)
        return self.window(drawn // self.envs, drawn % self.envs, n_step, gamma)

    def window(self, age: Tensor, env: Tensor, n_step: int, gamma: float) -> Batch:
        """The transitions that begin `age` [B] steps before the newest (0) of the environments `env` [B]."""
        offset = torch.arange(n_step, device=age.device)
        begin = env[:, None] * self.rows
        steps = begin + ((self.cursor - 1 - age)[:, None] + offset) % self.rows  # [B, n]
        taken = self.taken.index_select(0, steps.flatten()).view(*steps.shape, -1)
        outcome = taken[..., -1].view(INTEGER[taken.dtype])
        stops = (outcome != GOES_ON) | (offset >= age[:, None])
        goes = torch.cat((torch.ones_like(stops[:, :1]), ~stops[:, :-1]), 1).cumprod(1)  # 1 for the steps taken
        length = goes.sum(1, keepdim=True)
        weight = goes * torch.pow(gamma, offset.to(taken.dtype))
        reward = (taken[..., self.joint : -1] * weight[..., None]).sum(1)
        end = outcome.gather(1, length - 1)
        last = steps.gather(1, length - 1)
        behind = begin + (last + 1 - begin) % self.rows
        after = torch.where(end > 0, self._place(end.long()), behind)[:, 0]
        discount = torch.pow(gamma, length.to(taken.dtype)) * (end != TERMINATED)
        known = ((end <= 0) | (self.count - end < self.room)).to(taken.dtype)
        return self._batch(taken[:, 0, : self.joint], reward, discount, known, steps[:, 0], after)

    def _batch(
        self, action: Tensor, reward: Tensor, discount: Tensor, known: Tensor, first: Tensor, after: Tensor
    ) -> Batch:
        """A Batch on the environments' device, of transitions that begin at the rows `first` [B] and lead to `after`."""
        here = self._here
        (*obs, state) = self._seen(first)
        (*next_obs, next_state) = self._seen(after)
        return Batch(
            obs,
            state,
            list(here(action).split(self.widths, 1)),
            here(reward),
            here(discount),
            next_obs,
            next_state,
            here(known),
            self._alive(first),
            self._alive(after),
            self._masks(first),
            self._masks(after),
        )

    def _here(self, value: Tensor) -> Tensor:
        """On the environments' device."""
        if self.device == self.spec.device:
            return value
        return value.pin_memory().to(self.spec.device, non_blocking=True)

    def state_dict(self) -> Dict[str, Any]:
        """What is stored, without the rows not yet written."""
        used = self.rows if self.filled == self.capacity else self.cursor + 1
        state = {name: self._by_env(name)[:, :used].clone() for name in KEPT}
        behind = {name: getattr(self, name)[self.ring :].clone() for name in ("seen", "mask", "alive")}
        return {**state, "behind": behind, "count": self.count.clone(), "cursor": self.cursor, "filled": self.filled}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Of a replay of the same sizes."""
        for name in KEPT:
            self._by_env(name)[:, : state[name].shape[1]] = state[name].to(self.device)
        for name, value in state["behind"].items():
            getattr(self, name)[self.ring :] = value.to(self.device)
        self.count.copy_(state["count"])
        self.cursor = state["cursor"]
        self.filled = state["filled"]

    def _by_env(self, name: str) -> Tensor:
        """[E, rows, .]"""
        tensor = getattr(self, name)
        return tensor[: self.ring].view(self.envs, self.rows, tensor.shape[1])

    def _now(self, name: str) -> Tensor:
        """[E, .] at the cursor."""
        return self._by_env(name)[:, self.cursor]

    def _succeed(self, truncated: Tensor, number: Tensor, acted: Tensor, seen: Tensor) -> None:
        """Keep the true successors `seen` of those truncated steps [E], by their numbers. Nobody tells who is alive there:
        those who `acted` before, it is supposed."""
        place = torch.where(truncated, self._place(number), torch.full_like(number, self.ring + self.room))
        self.seen[place] = seen.to(self.device, self.seen.dtype)
        self.alive[place] = acted

    def _place(self, number: Tensor) -> Tensor:
        """The row of the successor of the truncation with this number."""
        return self.ring + number % self.room

    def _seen(self, rows: Tensor) -> List[Tensor]:
        """A x [B, O_i], then the state [B, K S]."""
        seen = self._here(self.seen.index_select(0, rows)).to(self.taken.dtype)
        return list(seen.split(self.obs_sizes + [seen.shape[1] - sum(self.obs_sizes)], 1))

    def _alive(self, rows: Tensor) -> Tensor:
        if not self.spec.has_alive:
            return torch.ones(1, 1, dtype=self.taken.dtype, device=self.spec.device).expand(
                len(rows), self.spec.num_agents
            )
        return self._here(self.alive.index_select(0, rows)).to(self.taken.dtype)

    def _masks(self, rows: Tensor) -> List[Optional[Tensor]]:
        if not self.spec.has_action_mask:
            return [None] * self.spec.num_agents
        masks = self._here(self.mask.index_select(0, rows))
        return [mask if size else None for mask, size in zip(masks.split(self.choices, 1), self.choices)]


@torch.no_grad()
def explore(
    env: MultiAgentEnv, act: Callable[[Step], Tensor], replay: Replay, step: Step, length: int, observer=None
) -> Step:
    """Store `length` steps from `step` on, with the padded actions [E, A, W] that `act` chooses; returns the last Step.

    `observer` is shown every new Step: the episode statistics.
    """
    spec = env.spec
    replay.see(step)
    with one_thread(spec.device, spec.num_envs * spec.num_agents <= FEW_ROWS):
        for _ in range(length):
            action = act(step)
            step = env.step(to_env(spec, action))
            replay.write(action, step)
            if observer is not None:
                observer(step)
    return step
