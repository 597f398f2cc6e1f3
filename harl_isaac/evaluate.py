"""Playing full episodes with the deterministic policy, and what may be said of the result."""

import math
from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.networks.actors import StackedActors
from harl_isaac.rollout import to_env

CHECK_EVERY = 25  # steps between looks at whether all episodes have ended: the only host reads here


@dataclass
class Evaluation:
    """Results of N full episodes."""

    values: Dict[str, Tensor]  # name -> [N]: return, length and the environment's metrics

    def means(self) -> Dict[str, float]:
        """Mean of each value."""
        return {name: float(value.mean()) for name, value in self.values.items()}

    def intervals(self) -> Dict[str, Tuple[float, float, float]]:
        """Mean and 95 % interval of each value: Wilson's for shares of 0/1 outcomes, normal otherwise."""
        return {name: (wilson if bool(((value == 0) | (value == 1)).all()) else normal)(value)
                for name, value in self.values.items()}


def padded(spec: EnvSpec, parts, width: int) -> Tensor:
    """Per-agent tensors A x [E, .] as one [E, A, width], zeros beyond an agent's own width."""
    result = torch.zeros((spec.num_envs, spec.num_agents, width), dtype=parts[0].dtype, device=spec.device)
    for i, part in enumerate(parts):
        result[:, i, :part.shape[1]] = part
    return result


@torch.no_grad()
def likeliest(env: MultiAgentEnv, actors: StackedActors, step: Step) -> Tuple[Tensor, ...]:
    """The deterministic policy's actions at a Step, ready for `env.step`."""
    masks = step.action_mask
    mask = None if masks is None else padded(env.spec, masks, max(part.shape[1] for part in masks))
    return to_env(env.spec, actors.mode(padded(env.spec, step.obs, actors.obs_size), mask))


@torch.no_grad()
def evaluate(env: MultiAgentEnv, actors: StackedActors, episodes: int, seed: int) -> Evaluation:
    """Play the same number of episodes, at least `episodes` in all, to their end in every environment.

    Every environment counts its first episodes only, so short ones are not counted more often than long ones.
    """
    spec, each = env.spec, -(-episodes // env.spec.num_envs)
    step = env.reset(seed)
    record = torch.zeros((each + 1, spec.num_envs, 2 + len(spec.metrics)), device=spec.device)  # last row: surplus
    running = torch.zeros((spec.num_envs, 2), device=spec.device)
    episode = torch.zeros(spec.num_envs, dtype=torch.long, device=spec.device)
    for t in range(each * spec.max_episode_steps):
        step = env.step(likeliest(env, actors, step))
        running += torch.stack((step.reward.mean(1), torch.ones_like(running[:, 0])), 1)
        values = torch.cat((running, *[step.metrics[name][:, None] for name in spec.metrics]), 1)
        row = torch.where(step.done, episode.clamp(max=each), torch.full_like(episode, each))
        record.scatter_(0, row[None, :, None].expand(1, -1, values.shape[1]), values[None])
        running.masked_fill_(step.done[:, None], 0.0)
        episode += step.done
        if t % CHECK_EVERY == CHECK_EVERY - 1 and bool((episode >= each).all()):
            break
    flat = record[:each].flatten(0, 1).cpu()
    return Evaluation({name: flat[:, i] for i, name in enumerate(("return", "length") + tuple(spec.metrics))})


def wilson(outcomes: Tensor) -> Tuple[float, float, float]:
    """Share of ones and its 95 % interval (Wilson, 1927)."""
    n, share, z = outcomes.numel(), float(outcomes.mean()), 1.96
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return share, max(0.0, centre - half), min(1.0, centre + half)


def normal(values: Tensor) -> Tuple[float, float, float]:
    """Mean and its 95 % interval for many independent values."""
    mean = float(values.mean())
    half = 1.96 * float(values.std()) / math.sqrt(values.numel()) if values.numel() > 1 else math.inf
    return mean, mean - half, mean + half
