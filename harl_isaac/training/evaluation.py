"""Playing full episodes with the deterministic policy, and what may be said of the result."""

import math
from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.acting import FEW_ROWS, JointPolicy, ObservationPacker, to_env
from harl_isaac.env import EnvSpec, MultiAgentEnv, Step
from harl_isaac.runtime import one_thread

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
        return {
            name: (wilson if bool(((value == 0) | (value == 1)).all()) else normal)(value)
            for name, value in self.values.items()
        }


class Player:
    """The deterministic policy at play: the likeliest actions at each Step, ready for `env.step`."""

    def __init__(self, spec: EnvSpec, actors: JointPolicy):
        self.spec = spec
        self.actors = actors
        self.layers = actors.fused_layers()
        self.sight = ObservationPacker(spec, actors)
        shape = (spec.num_envs, spec.num_agents, actors.hidden_size)
        self.hidden = torch.zeros(shape, device=spec.device) if actors.hidden_size else None

    @torch.no_grad()
    def act(self, step: Step) -> Tuple[Tensor, ...]:
        """A x [E, W_i]; a recurrent policy forgets where an episode ended."""
        if self.hidden is not None:
            self.hidden.masked_fill_(step.done[:, None, None], 0.0)
        return to_env(self.spec, self.actors.mode(*self.sight(step), self.hidden, self.layers))


@torch.no_grad()
def evaluate_policy(env: MultiAgentEnv, actors: JointPolicy, episodes: int, seed: int) -> Evaluation:
    """Play the same number of episodes, at least `episodes` in all, to their end in every environment.

    Every environment counts its first episodes only, so short ones are not counted more often than long ones.
    """
    spec = env.spec
    each = -(-episodes // env.spec.num_envs)
    step = env.reset(seed)
    player = Player(spec, actors)
    record = torch.zeros((each + 1, spec.num_envs, 2 + len(spec.metrics)), device=spec.device)  # last row: surplus
    running = torch.zeros((spec.num_envs, 2), device=spec.device)
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
    return Evaluation({name: flat[:, i] for i, name in enumerate(("return", "length") + tuple(spec.metrics))})


def wilson(outcomes: Tensor) -> Tuple[float, float, float]:
    """Share of ones and its 95 % interval (Wilson, 1927)."""
    n = outcomes.numel()
    share = float(outcomes.mean())
    z = 1.96
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return share, max(0.0, center - half), min(1.0, center + half)


def normal(values: Tensor) -> Tuple[float, float, float]:
    """Mean and its 95 % interval for many independent values."""
    mean = float(values.mean())
    half = 1.96 * float(values.std()) / math.sqrt(values.numel()) if values.numel() > 1 else math.inf
    return mean, mean - half, mean + half
