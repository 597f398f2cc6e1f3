"""Evaluation: full episodes with the deterministic policy, with confidence intervals."""

import math
from dataclasses import dataclass
from typing import Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.acting import FEW_ROWS, to_env
from harl_isaac.env import EnvSpec, MultiAgentEnv, SimulatorError, Step
from harl_isaac.faults import FiniteWatch, StepShapes
from harl_isaac.networks.joint_policy import JointPolicy, ObservationPacker
from harl_isaac.runtime import one_thread

CHECK_EVERY = 25  # steps between checks whether all episodes have ended: the only host reads here
Z = 1.96  # 95 % of the standard normal distribution lie within +-Z

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
        """Mean and 95 % interval of each value: Wilson's for shares of 0/1 outcomes, Student's otherwise."""
        return {name: wilson(value) if is_outcome(value) else student(value) for name, value in self.values.items()}


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

    Every environment counts its first episodes only, so short ones are not counted more often than long ones. Raises
    SimulatorError where episodes last longer than the environment says, EnvironmentFault where its Steps are not those
    of its spec.
    """
    spec = env.spec
    each = -(-episodes // spec.num_envs)
    check = StepShapes(spec)
    watch = FiniteWatch(spec)
    step = env.reset(seed)
    player = Player(spec, actors)
    record = torch.zeros((each + 1, spec.num_envs, 2 + len(spec.metrics)), device=spec.device)  # last row: surplus
    running = torch.zeros((spec.num_envs, 2), device=spec.device)  # return and length of the running episodes
    episode = torch.zeros(spec.num_envs, dtype=torch.long, device=spec.device)
    with one_thread(spec.device, spec.num_envs * spec.num_agents <= FEW_ROWS):
        for t in range(each * spec.max_episode_steps):
            step = env.step(player.act(step))
            check(step)
            watch(step)
            running += torch.stack((step.reward.mean(1), torch.ones_like(running[:, 0])), 1)
            values = torch.cat((running, *[step.metrics[name][:, None] for name in spec.metrics]), 1)
            row = torch.where(step.done, episode.clamp(max=each), torch.full_like(episode, each))
            record.scatter_(0, row[None, :, None].expand(1, -1, values.shape[1]), values[None])
            running.masked_fill_(step.done[:, None], 0.0)
            episode += step.done
            if t % CHECK_EVERY == CHECK_EVERY - 1 and bool((episode >= each).all()):
                break
    watch.check()
    if bool((episode < each).any()):
        raise SimulatorError(
            f"an episode lasted longer than the environment's max_episode_steps={spec.max_episode_steps}"
        )
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
    center = (share + Z * Z / (2 * n)) / (1 + Z * Z / n)
    half = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n)) / (1 + Z * Z / n)
    return share, max(0.0, center - half), min(1.0, center + half)


def student(values: Tensor) -> Interval:
    """Mean of values [N] and its 95 % interval (Student, 1908): wide where there are few, any width for one."""
    mean = float(values.mean())
    n = values.numel()
    half = t_quantile(n - 1) * float(values.std()) / math.sqrt(n) if n > 1 else math.inf
    return mean, mean - half, mean + half


def t_quantile(degrees: int) -> float:
    """The number within +-which 95 % of Student's t distribution of so many degrees of freedom lies."""
    if degrees > 1000:
        return Z + (Z**3 + Z) / (4 * degrees)  # to four digits
    low = 0.0
    high = 13.0  # of one degree it is 12.7
    for _ in range(60):
        middle = (low + high) / 2
        if t_probability(middle, degrees) < 0.95:
            low = middle
        else:
            high = middle
    return low


def t_probability(t: float, degrees: int) -> float:
    """Probability of [-t, t] under Student's t distribution (Abramowitz and Stegun, 26.7.3 and 26.7.4)."""
    angle = math.atan(t / math.sqrt(degrees))
    odd = degrees % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for k in range(odd + 1, degrees, 2):  # powers of the cosine below `degrees`
        total += term
        term *= k / (k + 1) * math.cos(angle) ** 2
    return 2 / math.pi * (angle + math.sin(angle) * total) if odd else math.sin(angle) * total
