"""Replay buffer: a ring of preallocated tensors that stores each transition once.

An environment's steps lie behind one another: the successor of a step is the next row, and n steps are read in one
piece. Only where an episode was truncated is it another, and that true successor lies in a smaller ring at the end.
(That of a terminated step has no value.) What is read together lies together: a large replay is bound by the latency
of memory.
"""

from dataclasses import dataclass
from typing import Any, Callable, Dict, List, Optional

import torch
from torch import Tensor

from harl_isaac.acting import interact
from harl_isaac.buffers.placement import Shape, bytes_of, choose_placement
from harl_isaac.buffers.staging import ToHost
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step, action_width, mask_width
from harl_isaac.faults import Faults

# Outcomes of a step; that of a truncated one is the number of the truncation, from 1 on.
GOES_ON = 0
TERMINATED = -1
DTYPES = {"float32": None, "float16": torch.float16}  # of observations and states; None: torch's default
INTEGER = {torch.float32: torch.int32, torch.float64: torch.int64}  # as wide
# Name in a checkpoint -> attribute: what is stored for each step, and what for each true successor
SAVED_FIELDS = {
    "seen": "observations",
    "action": "action",
    "reward": "reward",
    "outcome": "outcome",
    "mask": "mask",
    "alive": "alive",
}
SAVED_SUCCESSORS = ("seen", "mask", "alive")


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
    valid: Tensor  # [B, 1] float: 0 where the successor of a truncated step was overwritten
    alive: Tensor  # [B, A] float: 1 where the agent acted
    next_alive: Tensor  # [B, A]; as `alive` of the last step taken where it was truncated
    mask: List[Optional[Tensor]]  # A x [B, N_i] bool
    next_mask: List[Optional[Tensor]]  # all true at the successor of a truncated step, whose mask is not known


class Replay:
    """The last `capacity` transitions (whole steps of all environments).

    They lie on the environments' device, or on the host, from where batches are copied (`placement`: auto takes the
    host where the device is too small). Raises ValueError, before anything is allocated, where they do not fit. The
    capacity for true successors suffices for episodes truncated after half of `max_episode_steps` on average; where
    there are more, the oldest are overwritten, and a transition that needs one is not `valid`.
    """

    def __init__(self, spec: EnvSpec, capacity: int, dtype: str = "float32", placement: str = "auto"):
        if capacity < spec.num_envs:
            raise ValueError(f"algo.buffer_size={capacity} holds not one step of num_envs={spec.num_envs}; give more")
        self.spec = spec
        self.envs = spec.num_envs
        self.capacity = capacity // spec.num_envs  # in steps
        self.rows = self.capacity + 1  # one more for the newest observations: the successors of the newest transitions
        self.ring = self.rows * self.envs
        self.successor_capacity = self.envs * min(self.capacity, 2 * (self.capacity // spec.max_episode_steps) + 2)
        self.obs_sizes = list(spec.obs_sizes)
        self.widths = [action_width(space) for space in spec.actions]
        self.choices = [mask_width(space) for space in spec.actions]
        self._allocate(DTYPES[dtype] or torch.get_default_dtype(), placement)
        self.count = torch.zeros((), dtype=torch.long, device=self.device)  # truncations so far
        self.cursor = 0  # the row of the newest observations
        self.filled = 0  # steps stored
        self.written = 0  # steps since this replay was made
        self.faults = Faults(spec, self.observations.dtype)  # numbers of environments that were not finite
        self.to_host = ToHost(spec.device) if self.device != spec.device else None

    def _allocate(self, dtype: torch.dtype, placement: str) -> None:
        spec = self.spec
        with_successors = self.ring + self.successor_capacity + 1  # the last row takes what need not be kept
        observed = sum(self.obs_sizes) + spec.state_agents * spec.state_size
        observations: Shape = (with_successors, observed, dtype)
        transitions: Shape = (self.ring, self.joint_width + spec.reward_agents + 1, torch.get_default_dtype())
        mask: Shape = (with_successors, sum(self.choices) if spec.has_action_mask else 0, torch.bool)
        alive: Shape = (with_successors, spec.num_agents if spec.has_alive else 0, torch.bool)
        self.bytes = sum(bytes_of(shape) for shape in (observations, transitions, mask, alive))
        self.device = choose_placement(self.bytes, self.capacity * self.envs, spec.device, placement)
        self.observations = self._zeros(observations)  # [rows, sum of O_i + K S]: all agents', then the state
        self.transitions = self._zeros(transitions)  # [rows, sum of W_i + R + 1]: actions, rewards, outcome
        self.mask = self._zeros(mask)  # [rows, sum of N_i]
        self.alive = self._zeros(alive)  # [rows, A]
        self.mask[self.ring :] = True

    def _zeros(self, shape: Shape) -> Tensor:
        rows, width, dtype = shape
        return torch.zeros(rows, width, dtype=dtype, device=self.device)

    @property
    def joint_width(self) -> int:
        """Width of all agents' actions."""
        return sum(self.widths)

    @property
    def action(self) -> Tensor:
        """All agents' actions in `transitions`, [rows, sum of W_i]."""
        return self.transitions[:, : self.joint_width]

    @property
    def reward(self) -> Tensor:
        """Rewards in `transitions`, [rows, R]."""
        return self.transitions[:, self.joint_width : -1]

    @property
    def outcome(self) -> Tensor:
        """Outcomes in `transitions`, [rows, 1]: integers in the memory of a real number."""
        return self.transitions[:, -1:].view(INTEGER[self.transitions.dtype])

    def write_observation(self, step: Step) -> None:
        """Store the observations, states and masks that the agents act on next."""
        self._at_cursor("observations").copy_(torch.cat((*step.obs, step.state.flatten(1)), 1))
        if step.action_mask is not None:
            masks = [mask for mask, size in zip(step.action_mask, self.choices) if size]
            self._at_cursor("mask").copy_(torch.cat(masks, 1))
        if step.alive is not None:
            self._at_cursor("alive").copy_(step.alive)

    def write(self, action: Tensor, step: Step) -> None:
        """Store the policies' padded actions [E, A, W] at the newest observations, and the Step that they led to."""
        joint = torch.cat([action[:, i, :width] for i, width in enumerate(self.widths)], 1)
        self._at_cursor("action").copy_(joint)
        self._at_cursor("reward").copy_(step.reward)
        terminated = step.terminated.to(self.device)
        truncated = step.truncated.to(self.device)
        number = self.count + truncated.cumsum(0)
        self._at_cursor("outcome")[:, 0] = terminated * TERMINATED + truncated * number
        successor = torch.cat((*step.next_obs, step.next_state.flatten(1)), 1)
        self._store_successors(truncated, number, self._at_cursor("alive"), successor)
        self.count += truncated.sum()
        self.cursor = (self.cursor + 1) % self.rows
        self.filled = min(self.filled + 1, self.capacity)
        self.written += 1
        self.write_observation(step)

    def truncate_episodes(self) -> None:
        """End the running episodes at the newest observations, as a time limit would."""
        before = (self.cursor - 1) % self.rows
        latest = self._by_env("outcome")[:, before, 0]
        running = latest == GOES_ON if self.filled else torch.zeros_like(latest, dtype=torch.bool)
        number = self.count + running.cumsum(0)
        self._store_successors(running, number, self._by_env("alive")[:, before], self._at_cursor("observations"))
        latest.copy_(torch.where(running, number.to(latest.dtype), latest))
        self.count += running.sum()

    def end_rows(self, places: Tensor, ended: Tensor) -> None:
        """Mark transitions at the rows `places` [T, E], where `ended` [T, E] holds, as terminated."""
        self.outcome[places, 0] = self.outcome[places, 0].masked_fill(ended, TERMINATED)

    def sample(self, size: int, n_step: int, gamma: float) -> Batch:
        """Draw `size` transitions of up to `n_step` steps, uniformly and with replacement."""
        drawn = torch.randint(self.filled * self.envs, (size,), device=self.device)
        return self.n_step_batch(drawn // self.envs, drawn % self.envs, n_step, gamma)

    def n_step_batch(self, age: Tensor, env: Tensor, n_step: int, gamma: float) -> Batch:
        """Transitions that begin `age` [B] steps before the newest (0) of the environments `env` [B]."""
        offset = torch.arange(n_step, device=age.device)
        begin = env[:, None] * self.rows
        steps = begin + ((self.cursor - 1 - age)[:, None] + offset) % self.rows  # [B, n]
        transitions = self.transitions.index_select(0, steps.flatten()).view(*steps.shape, -1)
        outcome = transitions[..., -1].view(INTEGER[transitions.dtype])
        stops = (outcome != GOES_ON) | (offset >= age[:, None])
        taken = torch.cat((torch.ones_like(stops[:, :1]), ~stops[:, :-1]), 1).cumprod(1)  # 1 for the steps taken
        length = taken.sum(1, keepdim=True)
        weight = taken * torch.pow(gamma, offset.to(transitions.dtype))
        reward = (transitions[..., self.joint_width : -1] * weight[..., None]).sum(1)
        last_outcome = outcome.gather(1, length - 1)
        last = steps.gather(1, length - 1)
        following = begin + (last + 1 - begin) % self.rows
        successor = torch.where(last_outcome > 0, self.successor_row(last_outcome.long()), following)[:, 0]
        discount = torch.pow(gamma, length.to(transitions.dtype)) * (last_outcome != TERMINATED)
        valid = (last_outcome <= 0) | (self.count - last_outcome < self.successor_capacity)
        action = transitions[:, 0, : self.joint_width]
        return self._batch(action, reward, discount, valid.to(transitions.dtype), steps[:, 0], successor)

    def _batch(
        self, action: Tensor, reward: Tensor, discount: Tensor, valid: Tensor, first: Tensor, successor: Tensor
    ) -> Batch:
        """A Batch on the environments' device, of transitions from the rows `first` [B] to the rows `successor` [B]."""
        *obs, state = self._read_observations(first)
        *next_obs, next_state = self._read_observations(successor)
        return Batch(
            obs=obs,
            state=state,
            action=list(self._to_env_device(action).split(self.widths, 1)),
            reward=self._to_env_device(reward),
            discount=self._to_env_device(discount),
            next_obs=next_obs,
            next_state=next_state,
            valid=self._to_env_device(valid),
            alive=self._read_alive(first),
            next_alive=self._read_alive(successor),
            mask=self._read_masks(first),
            next_mask=self._read_masks(successor),
        )

    def _to_env_device(self, value: Tensor) -> Tensor:
        if self.device == self.spec.device:
            return value
        return value.pin_memory().to(self.spec.device, non_blocking=True)  # torch keeps pinned memory for the next one

    def state_dict(self) -> Dict[str, Any]:
        """The stored steps, without the rows not yet written."""
        used = self.rows if self.filled == self.capacity else self.cursor + 1
        state = {name: self._by_env(field)[:, :used].clone() for name, field in SAVED_FIELDS.items()}
        behind = {name: getattr(self, SAVED_FIELDS[name])[self.ring :].clone() for name in SAVED_SUCCESSORS}
        return {**state, "behind": behind, "count": self.count.clone(), "cursor": self.cursor, "filled": self.filled}

    def load_state_dict(self, state: Dict[str, Any]) -> None:
        """Continue from a `state_dict` of a replay of the same sizes."""
        for name, field in SAVED_FIELDS.items():
            saved = state[name].to(self.device)
            self._by_env(field)[:, : saved.shape[1]] = saved
        for name, value in state["behind"].items():
            getattr(self, SAVED_FIELDS[name])[self.ring :] = value.to(self.device)
        self.count.copy_(state["count"])
        self.cursor = state["cursor"]
        self.filled = state["filled"]

    def _by_env(self, field: str) -> Tensor:
        """The ring of a field as [E, rows, .]."""
        tensor = getattr(self, field)
        return tensor[: self.ring].view(self.envs, self.rows, tensor.shape[1])

    def _at_cursor(self, field: str) -> Tensor:
        """The newest row of a field, [E, .]."""
        return self._by_env(field)[:, self.cursor]

    def _store_successors(self, truncated: Tensor, number: Tensor, acted: Tensor, successor: Tensor) -> None:
        """Keep the true successors of the truncated steps [E], by their numbers.

        Who is alive there is not known: those who `acted` before are taken to be.
        """
        unused = torch.full_like(number, self.ring + self.successor_capacity)
        rows = torch.where(truncated, self.successor_row(number), unused)
        self.observations[rows] = successor.to(self.device, self.observations.dtype)
        self.alive[rows] = acted

    def successor_row(self, number: Tensor) -> Tensor:
        """The row of the successor of the truncation with this number."""
        return self.ring + number % self.successor_capacity

    def _read_observations(self, rows: Tensor) -> List[Tensor]:
        """A x [B, O_i], then the state [B, K S]."""
        values = self._to_env_device(self.observations.index_select(0, rows)).to(self.transitions.dtype)
        state_size = values.shape[1] - sum(self.obs_sizes)
        return list(values.split([*self.obs_sizes, state_size], 1))

    def _read_alive(self, rows: Tensor) -> Tensor:
        dtype = self.transitions.dtype
        if not self.spec.has_alive:
            return torch.ones(1, 1, dtype=dtype, device=self.spec.device).expand(len(rows), self.spec.num_agents)
        return self._to_env_device(self.alive.index_select(0, rows)).to(dtype)

    def _read_masks(self, rows: Tensor) -> List[Optional[Tensor]]:
        if not self.spec.has_action_mask:
            return [None] * self.spec.num_agents
        masks = self._to_env_device(self.mask.index_select(0, rows))
        return [mask if size else None for mask, size in zip(masks.split(self.choices, 1), self.choices)]


@torch.no_grad()
def explore(
    env: MultiAgentEnv,
    act: Callable[[Step], Tensor],
    replay: Replay,
    step: Step,
    length: int,
    observer: Optional[Callable[[Step], None]] = None,
) -> Step:
    """Store `length` steps from `step` on, with padded actions [E, A, W] chosen by `act`; returns the last Step."""
    to_host = replay.to_host

    def store(t: int, action: Tensor, next_step: Step) -> None:
        arrived = [(action, next_step)] if to_host is None else to_host.exchange(action, next_step)
        for each in arrived:
            replay.write(*each)

    replay.write_observation(step)
    try:
        return interact(env, step, length, lambda t, step: act(step), store, observer)
    finally:
        for each in [] if to_host is None else to_host.receive():
            replay.write(*each)
