"""Learning rates that keep each policy's move in an update near a target, as rl_games' and rsl_rl's adaptive ones do.

The move is measured over the whole rollout after the update (metric `kl`), for each agent on its own.
"""

FACTOR = 1.5  # by which a learning rate rises or falls after an update
LOWEST = 1e-5
HIGHEST = 1e-2


def adapted_rate(rate: float, kl: float, target: float) -> float:
    """The learning rate after an update that moved the policy by `kl`, which is to stay within half and twice `target`.

    A policy that did not move at all, such as that of an agent that is dead, tells nothing.
    """
    if kl > 2.0 * target:
        return max(rate / FACTOR, min(rate, LOWEST))
    if 0.0 < kl < 0.5 * target:
        return min(rate * FACTOR, max(rate, HIGHEST))
    return rate
