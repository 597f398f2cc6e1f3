"""harl-theory out=figure1.png: why agents update one after the other and with policies of their own.

Prints Examples 1 and 2 and what Theorem 7 promises in random games (Zhong et al., 2024), all exact, and draws Figure 1.
Keys: out=figure1.png, rate=3.0 (learning rate of Figure 1), games=200, iterations=5, seed=0.
"""

from typing import TYPE_CHECKING, Dict, Tuple

import torch
from torch import Tensor

from harl_isaac.cli.arguments import check_numbers, named_file, read_arguments
from harl_isaac.settings import check_seed
from harl_isaac.theory.examples import EXAMPLE_1, RULES, SIZES, example_1, example_2, figure_1, theorem_7

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Point = Tuple[float, float]

DEFAULTS = {"out": "figure1.png", "rate": 3.0, "games": 200, "iterations": 5, "seed": 0}
MOST_RATE = 1000.0
MOST_GAMES = 100_000
ROUNDING = 1e-12  # a smaller loss of return is none
START: Point = (1.5, -1.0)  # Figure 1's first policies, in the fourth quadrant
COLORS = ("tab:red", "tab:blue")


def main() -> None:
    """Print the report and draw the figure."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    args = read_arguments(__doc__, DEFAULTS)
    check_numbers(args, rate=(0, MOST_RATE), games=(len(SIZES), MOST_GAMES), iterations=(1, MOST_GAMES))
    check_seed(args["seed"])
    out = named_file(args, "out")
    changes = theorem_7(args["games"], args["iterations"], args["seed"])
    report(changes, args["rate"])
    figure, axes = pyplot.subplots(1, 2, figsize=(9, 4), constrained_layout=True)
    draw_game(axes[0], args["rate"])
    draw_changes(axes[1], changes)
    figure.savefig(out, dpi=90)
    print(out)


def report(changes: Dict[str, Tensor], rate: float) -> None:
    """Print Figure 1's returns, both examples, and how often the return fell: changes [iterations, games] by rule."""
    start = torch.tensor(START)
    simultaneous = figure_1(start, rate, False).prod()
    sequential = figure_1(start, rate, True).prod()
    print(f"Figure 1: r = a1 a2 from {START} with learning rate {rate:g}")
    print(
        f"  return {start.prod():.2f}; after a simultaneous gradient step {simultaneous:.2f}, "
        f"after a sequential one {sequential:.2f}"
    )
    before, after, after_sequential = example_1(0.7)
    print(f"Example 1: reward {EXAMPLE_1}, both agents choose 0 with probability 0.7")
    print(
        f"  return {before:.2f}; after simultaneous best responses {after:.2f}, "
        f"after sequential ones {after_sequential:.2f}"
    )
    print("Example 2: OppositesGame, the best policy that all agents share")
    for players in (2, 4, 6):
        shared, first, best = example_2(players)
        print(f"  {players} agents: return {shared:.5f} at P(0) = {first:.2f}; with own policies {best:.0f}")
    iterations, games = changes["Algorithm 1"].shape
    print(f"Theorem 7: {games} random games, {iterations} iterations of each")
    for name, change in changes.items():
        falls = (change < -ROUNDING).any(0).sum()
        largest_loss = max(0.0, float(-change.min()))
        print(f"  {name:<30} return fell in {falls:3d} games, largest loss {largest_loss:.2f}")


def draw_game(axis: "Axes", rate: float) -> None:
    """Draw contours of the return and the steps of either scheme from START."""
    start = torch.tensor(START)
    simultaneous = figure_1(start, rate, False)
    sequential = figure_1(start, rate, True)
    draw_contours(axis, reach=float(1.25 * torch.stack((start, simultaneous, sequential)).abs().max()))
    corner = (float(sequential[0]), START[1])  # agent 1's step, then agent 2's
    draw_arrow(axis, START, simultaneous.tolist(), COLORS[0])
    draw_arrow(axis, START, corner, COLORS[1])
    draw_arrow(axis, corner, sequential.tolist(), COLORS[1])
    for end, color, name in zip((simultaneous, sequential), COLORS, ("simultaneous", "sequential")):
        axis.plot([], [], color=color, label=f"{name}: {start.prod():.2f} to {end.prod():.2f}")
    axis.plot(*START, "o", color="black")
    axis.set(xlabel="agent 1's action", ylabel="agent 2's action", title="return $a^1 a^2$: a gradient step")
    axis.legend(loc="upper right", fontsize=8)


def draw_contours(axis: "Axes", reach: float) -> None:
    """Draw contours of r = a1 a2 for actions within [-reach, reach]."""
    line = torch.linspace(-reach, reach, 201)
    level = (line[None] * line[:, None] / reach**2).numpy()
    axis.contourf(line, line, level, levels=15, cmap="PiYG", alpha=0.5)
    axis.contour(line, line, level, levels=[0.0], colors="gray")


def draw_arrow(axis: "Axes", start: Point, end: Point, color: str) -> None:
    """Draw an arrow between two points of the plane."""
    axis.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": color, "linewidth": 2})


def draw_changes(axis: "Axes", changes: Dict[str, Tensor]) -> None:
    """Draw the first iteration's change of the return in every game, sorted; changes [iterations, games] by rule."""
    for name, color in zip(RULES, COLORS):
        axis.plot(changes[name][0].sort()[0], color=color, label=name)
    axis.axhline(0.0, color="black", linewidth=0.8)
    axis.set(xlabel="random games, sorted", ylabel="change of return", title="random Markov games: one iteration")
    axis.legend(fontsize=8)
    axis.grid(alpha=0.3)
