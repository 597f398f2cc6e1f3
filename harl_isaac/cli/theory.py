"""python scripts/theory.py out=figure1.png: why agents update one after the other and with policies of their own.

Prints Examples 1 and 2 and what Theorem 7 promises in random games (Zhong et al., 2024), all exact, and draws Figure 1.
Keys: out=figure1.png, rate=3.0 (learning rate of Figure 1), games=200, iterations=5, seed=0.
"""

from typing import Dict

import torch
from torch import Tensor

from harl_isaac.cli.script import read_arguments
from harl_isaac.registry import TASKS, import_object
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

DEFAULTS = {"out": "figure1.png", "rate": 3.0, "games": 200, "iterations": 5, "seed": 0}
EXAMPLE_1 = ((0.0, 2.0), (2.0, -1.0))  # reward of the two agents' actions
SIZES = ((2, (2, 2)), (2, (2, 3)), (3, (3, 2)), (2, (2, 3, 2)), (3, (3, 2, 2)))  # states, actions of each agent
RULES = {  # how the agents respond, and whether one after the other
    "best responses, simultaneous": (best_response, False),
    "best responses, sequential": (best_response, True),
    "Algorithm 1": (trust_region, True),
}
FALL = 1e-12  # a smaller loss of return is rounding
START = (1.5, -1.0)  # Figure 1's first policies, in the fourth quadrant


def example_1(first: float):
    """Returns before and after simultaneous and sequential best responses; agents choose action 0 with P = first."""
    game = matrix_game(torch.tensor(EXAMPLE_1))
    old = [torch.tensor([[[first, 1.0 - first]]], dtype=torch.float64)] * 2
    after = [iterate(game, old, (0, 1), best_response, sequential) for sequential in (False, True)]
    return tuple(float(joint_policy_values(game, policy).mean_return) for policy in (old, *after))


def example_2(players: int, points: int = 1001):
    """The best return of `points` shared policies, that policy's P(action 0), and the best return of all."""
    game = one_step_game(import_object(TASKS["OppositesGame"])(players=players))
    first = torch.linspace(0.0, 1.0, points, dtype=torch.float64)
    shared = torch.stack((first, 1.0 - first), 1)[:, None]  # as many games as policies
    rewards = game.reward.expand(points, *game.reward.shape[1:])
    returns = expected(rewards, [shared] * players, range(players)).flatten()
    return float(returns.max()), float(first[returns.argmax()]), float(game.reward.max())


def theorem_7(games: int, iterations: int, seed: int) -> Dict[str, Tensor]:
    """Changes of the return [iterations, games] in random games under each of RULES, from the same random policies."""
    draw = torch.Generator().manual_seed(seed)
    changes = {name: [] for name in RULES}
    for place, (states, actions) in enumerate(SIZES):
        count = games // len(SIZES) + (place < games % len(SIZES))
        game = random_games(count, states, actions, draw)
        start = random_policy(game, draw)
        orders = [torch.randperm(len(actions), generator=draw).tolist() for _ in range(iterations)]
        for name, (respond, sequential) in RULES.items():
            policy = start
            returns = [joint_policy_values(game, start).mean_return]
            for order in orders:
                policy = iterate(game, policy, order, respond, sequential)
                returns.append(joint_policy_values(game, policy).mean_return)
            changes[name].append(torch.stack(returns).diff(dim=0))
    return {name: torch.cat(parts, 1) for name, parts in changes.items()}


def figure_1(start: Tensor, rate: float, sequential: bool) -> Tensor:
    """Actions [..., 2] after a gradient step of each agent on r = a1 a2, the second one's at the first one's new action."""
    first = start[..., 0] + rate * start[..., 1]
    second = start[..., 1] + rate * (first if sequential else start[..., 0])
    return torch.stack((first, second), -1)


def report(changes: Dict[str, Tensor], rate: float) -> None:
    start = torch.tensor(START)
    print(f"Figure 1: r = a1 a2 from {START} with learning rate {rate:g}")
    print(
        f"  return {start.prod():.2f}; after a simultaneous gradient step {figure_1(start, rate, False).prod():.2f}, after a sequential one {figure_1(start, rate, True).prod():.2f}"
    )
    print(f"Example 1: reward {EXAMPLE_1}, both agents choose 0 with probability 0.7")
    print(
        "  return {:.2f}; after simultaneous best responses {:.2f}, after sequential ones {:.2f}".format(
            *example_1(0.7)
        )
    )
    print("Example 2: OppositesGame, the best policy that all agents share")
    for players in (2, 4, 6):
        print("  %d agents: return %.5f at P(0) = %.2f; with own policies %.0f" % ((players,) + example_2(players)))
    iterations, games = changes["Algorithm 1"].shape
    print(f"Theorem 7: {games} random games, {iterations} iterations of each")
    for name, change in changes.items():
        falls = (change < -FALL).any(0).sum()
        print(f"  {name:<30} return fell in {falls:3d} games, largest loss {max(0.0, float(-change.min())):.2f}")


def draw_game(axis, rate: float) -> None:
    """Contours of the return, the steps of either scheme from START."""
    start = torch.tensor(START)
    ends = [figure_1(start, rate, sequential) for sequential in (False, True)]
    reach = float(1.25 * torch.stack([start, *ends]).abs().max())
    line = torch.linspace(-reach, reach, 201)
    level = (line[None] * line[:, None] / reach**2).numpy()
    axis.contourf(line, line, level, levels=15, cmap="PiYG", alpha=0.5)
    axis.contour(line, line, level, levels=[0.0], colors="gray")
    for end, color, name in zip(ends, ("tab:red", "tab:blue"), ("simultaneous", "sequential")):
        corner = (float(end[0]), START[1])
        label = f"{name}: {start.prod():.2f} to {end.prod():.2f}"
        arrow = {"arrowstyle": "-|>", "color": color, "linewidth": 2}
        if name == "sequential":  # agent 1's step, then agent 2's
            axis.annotate("", corner, START, arrowprops=arrow)
        axis.annotate("", end.tolist(), corner if name == "sequential" else START, arrowprops=arrow)
        axis.plot([], [], color=color, label=label)
    axis.plot(*START, "o", color="black")
    axis.set(xlabel="agent 1's action", ylabel="agent 2's action", title="return $a^1 a^2$: a gradient step")
    axis.legend(loc="upper right", fontsize=8)


def draw_changes(axis, changes: Dict[str, Tensor]) -> None:
    """The first iteration's change of the return in every game, sorted."""
    for name, color in zip(RULES, ("tab:red", "tab:blue")):
        axis.plot(changes[name][0].sort()[0], color=color, label=name)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set(xlabel="random games, sorted", ylabel="change of return", title="random Markov games: one iteration")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)


def main() -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    args = read_arguments(__doc__, DEFAULTS)
    if args["games"] < len(SIZES) or args["iterations"] < 1:
        raise ValueError(
            f"games={args['games']} iterations={args['iterations']}; give at least {len(SIZES)} games and one iteration"
        )
    changes = theorem_7(args["games"], args["iterations"], args["seed"])
    report(changes, args["rate"])
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), constrained_layout=True)
    draw_game(axes[0], args["rate"])
    draw_changes(axes[1], changes)
    figure.savefig(args["out"], dpi=90)
    print(args["out"])
