"""Estimates of what settings need, from below, and the refusal with the numbers of what cannot be meant."""

from typing import Any, List, Tuple

from harl_isaac.buffers.rollout import rollout_bytes
from harl_isaac.env import EnvSpec, action_width, mask_width
from harl_isaac.learning.batching import chunk_rows
from harl_isaac.memory import check_fits

FLOAT = 4  # [bytes]
COPIES = 4  # of every parameter: itself, its gradient, Adam's two moments

NetworkSizes = Tuple[int, int]  # inputs, outputs


def policy_sizes(spec: EnvSpec) -> List[NetworkSizes]:
    """Sizes of each agent's policy, of the outputs those that every kind of policy has at least."""
    return [(size, max(action_width(space), mask_width(space))) for size, space in zip(spec.obs_sizes, spec.actions)]


def check_networks(spec: EnvSpec, cfg: Any, networks: List[NetworkSizes], rows: int, recurrent: bool = False) -> None:
    """Raise ValueError where networks with algo.hidden, with the activations of `rows` rows, do not fit the device."""
    hidden = list(cfg.hidden)
    parameters = sum(parameter_count([inputs, *hidden, outputs]) for inputs, outputs in networks)
    if recurrent:
        parameters += len(networks) * 6 * hidden[-1] ** 2
    at_once = min(rows, chunk_rows(max(hidden))) if spec.device.type == "cpu" else rows
    needed = FLOAT * (COPIES * parameters + 2 * at_once * sum(hidden))
    what = f"algo.hidden={hidden} for {spec.num_agents} agents ({parameters:.2g} parameters)"
    check_fits(what, needed, spec.device, "give fewer units")


def parameter_count(sizes: List[int]) -> int:
    """Weights and biases of layers between these sizes."""
    return sum((inputs + 1) * outputs for inputs, outputs in zip(sizes, sizes[1:]))


def check_rollout(spec: EnvSpec, length: int) -> None:
    """Raise ValueError where a rollout of this length does not fit the device."""
    needed = rollout_bytes(spec, length)
    what = f"algo.rollout_length={length} of num_envs={spec.num_envs} with {spec.num_agents} agents"
    check_fits(what, needed, spec.device, "choose smaller ones")


def check_batch(spec: EnvSpec, rows: int, n_step: int) -> None:
    """Raise ValueError where a batch of a replay does not fit the device."""
    observed = 2 * (sum(spec.obs_sizes) + spec.state_agents * spec.state_size)
    acted = sum(action_width(space) for space in spec.actions)
    needed = FLOAT * rows * (observed + n_step * (acted + spec.reward_agents + 3))
    check_fits(f"algo.batch_size={rows} of algo.n_step={n_step}", needed, spec.device, "choose smaller ones")
