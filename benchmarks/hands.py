"""Speed of every two-hand task beside ShadowHandOver's: blocks of random steps in turn, wall and processor time."""

from typing import Any, Dict, Iterator, List, Tuple

import torch
from torch import Tensor

from benchmarks.clock import Clock, Cost, Figures, rates, ratios, show
from benchmarks.step import play
from harl_isaac.check_env import random_actions
from harl_isaac.env import MultiAgentEnv
from harl_isaac.registry import default_settings
from harl_isaac.tasks import TASKS

YARDSTICK = "ShadowHandOver"
BLOCK = 10  # environment steps in a row, before the next task is timed
HANDS = [name for name in sorted(TASKS) if name.startswith("ShadowHand") and name != YARDSTICK]


def hands(clock: Clock, sim: str, num_envs: int, repeats: int) -> Iterator[Dict[str, Any]]:
    """Steps/s of each task, and its time as a multiple of the yardstick's, round by round."""
    names = [YARDSTICK, *HANDS]
    envs = {name: default_settings(TASKS, name).make(num_envs, clock.device, sim) for name in names}
    actions = {name: random_block(env) for name, env in envs.items()}
    rounds: List[Dict[str, Cost]] = []
    for _ in range(repeats + 1):  # the first warms up
        rounds.append({name: clock.cost(play, envs[name], actions[name]) for name in names})
    for name in names:
        blocks = [each[name] for each in rounds[1:]]
        yard = [each[YARDSTICK] for each in rounds[1:]]
        figures: Figures = {
            "steps_per_second": rates(BLOCK * num_envs, [block.wall for block in blocks]),
            "time": ratios([block.wall for block in blocks], [block.wall for block in yard]),
            "cpu_time": ratios([block.cpu for block in blocks], [block.cpu for block in yard]),
        }
        show(name, num_envs, figures)
        yield {"what": "hands", "task": name, "num_envs": num_envs, **figures}


def random_block(env: MultiAgentEnv) -> List[Tuple[Tensor, ...]]:
    """BLOCK sets of actions, drawn beforehand."""
    generator = torch.Generator().manual_seed(0)
    first = env.reset(0)
    return [random_actions(env.spec, first, generator) for _ in range(BLOCK)]
