"""Evaluation: full episodes with the deterministic policy, with confidence intervals."""

import math
from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.acting import FEW_ROWS, to_env
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.networks.joint_policy import JointPolicy, ObservationPacker
from harl_isaac.runtime import one_thread

CHECK_EVERY = 25  # steps between checks whether all episodes have ended: the only host reads here

Interval = Tuple[float, float, float]  # mean, lower end, upper end


@dataclass
class Evaluation:
    """Results of N full episodes."""

    values: Dict[str, Tensor]  # name -> [N]: return, length and the environment's metrics

    @property
    def episodes(self) -> int:
        """N."""
        return len(self.values["return"])

    def means(self) -> Dict[str, float]:
        """Mean of each value."""
        return {name: float(value.mean()) for name, value in self.values.items()}

    def intervals(self) -> Dict[str, Interval]:
        """Mean and 95 % interval of each value: Wilson's for shares of 0/1 outcomes, normal otherwise."""
        return {name: wilson(value) if is_outcome(value) else normal(value) for name, value in self.values.items()}


class Player:
    """Plays the deterministic policy: the most likely actions at each Step, ready for `env.step`."""

    def __init__(self, spec: EnvSpec, actors: JointPolicy):
        self.spec = spec
        self.actors = actors
        self.layers = actors.fused_layers()
        self.pack = ObservationPacker(spec, actors)
        shape = (spec.num_envs, spec.num_agents, actors.hidden_size)
        self.hidden = torch.zeros(shape, device=spec.device) if actors.hidden_size else None  # [E, A, H]

    @torch.no_grad()
    def act(self, step: Step) -> Tuple[Tensor, ...]:
        """Actions A x [E, W_i] at the Step; a recurrent policy's state is reset where an episode ended."""
        if self.hidden is not None:
            self.hidden.masked_fill_(step.done[:, None, None], 0.0)
        obs, mask = self.pack(step)
        return to_env(self.spec, self.actors.mode(obs, mask, self.hidden, self.layers))


@torch.no_grad()
def evaluate_policy(env: MultiAgentEnv, actors: JointPolicy, episodes: int, seed: int) -> Evaluation:
    """Play the same number of episodes, at least `episodes` in all, to their end in every environment.

    Every environment counts its first episodes only, so short ones are not counted more often than long ones.
    """
    spec = env.spec
    each = -(-episodes // spec.num_envs)
    step = env.reset(seed)
    player = Player(spec, actors)
    record = torch.zeros((each + 1, spec.num_envs, 2 + len(spec.metrics)), device=spec.device)  # last row: surplus
    running = torch.zeros((spec.num_envs, 2), device=spec.device)  # return and length of the running episodes
    episode = torch.zeros(spec.num_envs, dtype=torch.long, device=spec.device)
    with one_thread(spec.device, spec.num_envs * spec.num_agents <= FEW_ROWS):
        for t in range(each * spec.max_episode_steps):
            step = env.step(player.act(step))
            running += torch.stack((step.reward.mean(1), torch.ones_like(running[:, 0])), 1)
            values = torch.cat((running, *[step.metrics[name][:, None] for name in spec.metrics]), 1)
            row = torch.where(step.done, episode.clamp(max=each), torch.full_like(episode, each))
            record.scatter_(0, row[None, :, None].expand(1, -1, values.shape[1]), values[None])
            running.masked_fill_(step.done[:, None], 0.0)
            episode += step.done
            if t % CHECK_EVERY == CHECK_EVERY - 1 and bool((episode >= each).all()):
                break
    flat = record[:each].flatten(0, 1).cpu()
    names = ("return", "length", *spec.metrics)
    return Evaluation({name: flat[:, column] for column, name in enumerate(names)})


def is_outcome(values: Tensor) -> bool:
    """Whether all values [N] are 0 or 1."""
    return bool(((values == 0) | (values == 1)).all())


def wilson(outcomes: Tensor) -> Interval:
    """Share of ones among outcomes [N] and its 95 % interval (Wilson, 1927)."""
    n = outcomes.numel()
    share = float(outcomes.mean())
    z = 1.96
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return share, max(0.0, center - half), min(1.0, center + half)


def normal(values: Tensor) -> Interval:
    """Mean of values [N] and its 95 % interval for many independent ones."""
    mean = float(values.mean())
    half = 1.96 * float(values.std()) / math.sqrt(values.numel()) if values.numel() > 1 else math.inf
    return mean, mean - half, mean + half
