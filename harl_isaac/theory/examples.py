"""Examples 1 and 2, Theorem 7 and Figure 1 of Zhong et al. (2024): why agents update one after the other and with
policies of their own.
"""

from typing import Dict, List, Tuple

import torch
from torch import Tensor

from harl_isaac.tasks.games.opposites import OppositesGameCfg
from harl_isaac.theory.markov_games import (
    best_response,
    expected,
    iterate,
    joint_policy_values,
    matrix_game,
    one_step_game,
    random_games,
    random_policy,
    trust_region,
)

EXAMPLE_1 = ((0.0, 2.0), (2.0, -1.0))  # reward of the two agents' actions
SIZES = ((2, (2, 2)), (2, (2, 3)), (3, (3, 2)), (2, (2, 3, 2)), (3, (3, 2, 2)))  # states, actions of each agent
RULES = {  # how the agents respond, and whether one after the other
    "best responses, simultaneous": (best_response, False),
    "best responses, sequential": (best_response, True),
    "Algorithm 1": (trust_region, True),
}


def example_1(first: float) -> Tuple[float, float, float]:
    """Returns of Example 1 before, and after simultaneous and after sequential best responses.

    Before, both agents choose action 0 with probability `first`.
    """
    game = matrix_game(torch.tensor(EXAMPLE_1))
    old = [torch.tensor([[[first, 1.0 - first]]], dtype=torch.float64)] * 2
    simultaneous = iterate(game, old, (0, 1), best_response, sequential=False)
    sequential = iterate(game, old, (0, 1), best_response, sequential=True)
    before, after, after_sequential = [
        float(joint_policy_values(game, policy).mean_return) for policy in (old, simultaneous, sequential)
    ]
    return before, after, after_sequential


def example_2(players: int, points: int = 1001) -> Tuple[float, float, float]:
    """Best return of `points` shared policies in Example 2, that policy's P(action 0), and the best return of all."""
    game = one_step_game(OppositesGameCfg(players=players))
    first = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    shared = torch.stack((first, 1.0 - first), 1)[:, None]  # as many games as policies
    rewards = game.reward.expand(points, *game.reward.shape[1:])
    returns = expected(rewards, [shared] * players, range(players)).flatten()
    return float(returns.max()), float(first[returns.argmax()]), float(game.reward.max())


def theorem_7(games: int, iterations: int, seed: int) -> Dict[str, Tensor]:
    """Changes of the return [iterations, games] in random games under each of RULES, from the same random policies."""
    generator = torch.Generator().manual_seed(seed)
    changes: Dict[str, List[Tensor]] = {name: [] for name in RULES}
    for number, (states, actions) in enumerate(SIZES):
        count = games // len(SIZES) + (number < games % len(SIZES))
        game = random_games(count, states, actions, generator)
        start = random_policy(game, generator)
        orders = [torch.randperm(len(actions), generator=generator).tolist() for _ in range(iterations)]
        for name, (respond, sequential) in RULES.items():
            policy = start
            returns = [joint_policy_values(game, start).mean_return]
            for order in orders:
                policy = iterate(game, policy, order, respond, sequential)
                returns.append(joint_policy_values(game, policy).mean_return)
            changes[name].append(torch.stack(returns).diff(dim=0))
    return {name: torch.cat(parts, 1) for name, parts in changes.items()}


def figure_1(start: Tensor, rate: float, sequential: bool) -> Tensor:
    """Actions [..., 2] after a gradient step of each agent on r = a1 a2, from `start` [..., 2].

    Sequential: the second agent's gradient is taken at the first one's new action.
    """
    first = start[..., 0] + rate * start[..., 1]
    second = start[..., 1] + rate * (first if sequential else start[..., 0])
    return torch.stack((first, second), -1)
