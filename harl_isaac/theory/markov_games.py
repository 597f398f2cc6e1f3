"""Small cooperative Markov games, solved exactly: the setting of the theory of Zhong et al. (2024), Section 3.

In float64, for G games of equal sizes at once. A joint policy is a list with one tensor [G, S, N_i] of probabilities
for each agent.
"""

from dataclasses import dataclass
from typing import Callable, List, Sequence

import torch
from torch import Tensor

from harl_isaac.env import mask_width
from harl_isaac.settings import TaskCfg

Policy = List[Tensor]
# (old policy [G, S, N], gain of each action [G, S, N], the penalty's C [G]) -> new policy [G, S, N]
Response = Callable[[Tensor, Tensor, Tensor], Tensor]

BUDGETS = 17  # trust regions tried at once
ROUNDS = 5  # each round refines the grid around the best one, by a factor of (BUDGETS - 1) / 2
LOG_BUDGET = (-32.0, 4.0)  # natural logarithms of the smallest and the largest trust region, in nats
LOG_SLACK = (-600.0, 25.0)  # range of the slack's logarithm: at its ends the policy is greedy, or the old one
HALVINGS = 45  # of that range


@dataclass(frozen=True)
class FiniteGame:
    """G games with S states, n agents with N_1, ..., N_n actions and one reward for all."""

    reward: Tensor  # [G, S, N_1, ..., N_n]
    transition: Tensor  # [G, S, N_1, ..., N_n, S] probabilities of the next state
    start: Tensor  # [G, S] probabilities of the first state
    gamma: Tensor  # [G] within [0, 1)


@dataclass(frozen=True)
class PolicyValues:
    """Value functions of a joint policy."""

    mean_return: Tensor  # [G] J
    value: Tensor  # [G, S] V
    action_value: Tensor  # [G, S, N_1, ..., N_n] Q
    advantage: Tensor  # [G, S, N_1, ..., N_n] Q - V
    visits: Tensor  # [G, S] discounted, not normalized: sum_t gamma^t P(s_t = s)


def random_games(count: int, states: int, actions: Sequence[int], generator: torch.Generator) -> FiniteGame:
    """Draw `count` games: normal rewards, transitions uniform over the simplex, gamma uniform over [0.3, 0.9].

    `actions` are the numbers of actions N_1, ..., N_n.
    """

    def simplex(*shape: int) -> Tensor:
        weight = -torch.rand(shape, generator=generator, dtype=torch.float64).log()
        return weight / weight.sum(-1, keepdim=True)

    shape = (count, states, *actions)
    reward = torch.randn(shape, generator=generator, dtype=torch.float64)
    gamma = 0.3 + 0.6 * torch.rand(count, generator=generator, dtype=torch.float64)
    transition = simplex(*shape, states)
    start = simplex(count, states)
    return FiniteGame(reward, transition, start, gamma)


def random_policy(game: FiniteGame, generator: torch.Generator) -> Policy:
    """Draw a joint policy in which every action of every agent has some probability."""
    count, states, *actions = game.reward.shape
    return [torch.randn(count, states, size, generator=generator, dtype=torch.float64).softmax(-1) for size in actions]


def matrix_game(reward: Tensor) -> FiniteGame:
    """The game with one state and one step whose reward is [N_1, ..., N_n]."""
    reward = reward.double()[None, None]
    one = torch.ones(1, 1, dtype=torch.float64)
    return FiniteGame(reward, torch.ones_like(reward)[..., None], one, torch.zeros(1, dtype=torch.float64))


def one_step_game(task: TaskCfg) -> FiniteGame:
    """The matrix game of a task whose episodes have one step and all start alike, with Discrete actions.

    Every joint action is played once, each in an environment of its own.
    """
    device = torch.device("cpu")
    sizes = [mask_width(space) for space in task.make(1, device, "auto").spec.actions]
    actions = torch.cartesian_prod(*[torch.arange(size) for size in sizes])
    env = task.make(len(actions), device, "auto")
    env.reset(0)
    return matrix_game(env.step(actions.split(1, 1)).reward[:, 0].reshape(sizes))


def joint_policy_values(game: FiniteGame, policy: Policy) -> PolicyValues:
    """Solve Bellman's equations for a joint policy."""
    joint = torch.ones_like(game.reward)
    for i, agent_policy in enumerate(policy):
        joint = joint * _along(agent_policy, i, joint)
    reward = (joint * game.reward).flatten(2).sum(2)
    transition = (joint[..., None] * game.transition).flatten(2, -2).sum(2)  # [G, S, S]
    system = torch.eye(transition.shape[1], dtype=transition.dtype) - game.gamma[:, None, None] * transition
    value = torch.linalg.solve(system, reward)
    visits = torch.linalg.solve(system.transpose(1, 2), game.start)
    games, states = value.shape
    actions = (1,) * len(policy)
    gamma = game.gamma.reshape(games, 1, *actions, 1)
    next_value = value.reshape(games, 1, *actions, states)
    action_value = game.reward + (gamma * next_value * game.transition).sum(-1)
    mean_return = (game.start * value).sum(1)
    return PolicyValues(mean_return, value, action_value, action_value - value.reshape(games, states, *actions), visits)


def expected(quantity: Tensor, policy: Policy, agents: Sequence[int]) -> Tensor:
    """Mean of [G, S, N_1, ..., N_n] over the actions of `agents`, whose axes shrink to 1."""
    for i in agents:
        quantity = (quantity * _along(policy[i], i, quantity)).sum(2 + i, keepdim=True)
    return quantity


def multi_agent_advantage(action_value: Tensor, policy: Policy, agents: Sequence[int], given: Sequence[int]) -> Tensor:
    """Advantage of the actions of `agents` over those of `given` (Equation 1): [G, S, ...], size 1 along all others."""

    def value_given(members: Sequence[int]) -> Tensor:
        others = [i for i in range(len(policy)) if i not in members]
        return expected(action_value, policy, others)

    return value_given((*given, *agents)) - value_given(given)


def agent_gain(action_value: Tensor, old: Policy, new: Policy, i: int, before: Sequence[int]) -> Tensor:
    """Mean advantage of each action of agent i over the `new` actions of the agents `before` it, [G, S, N_i]."""
    gain = expected(multi_agent_advantage(action_value, old, (i,), before), new, before)
    return gain.reshape(gain.shape[:2] + (-1,))


def iterate(
    game: FiniteGame, policy: Policy, order: Sequence[int], respond: Response, sequential: bool = True
) -> Policy:
    """Update every agent by its response to the policies already updated (sequential) or to all old policies.

    With `trust_region` and sequential this is one iteration of Algorithm 1.
    """
    values = joint_policy_values(game, policy)
    new = list(policy)
    penalty = 4.0 * game.gamma * values.advantage.abs().flatten(1).amax(1) / (1.0 - game.gamma).square()
    for position, i in enumerate(order):
        gain = agent_gain(values.action_value, policy, new, i, order[:position] if sequential else ())
        new[i] = respond(policy[i], values.visits[..., None] * gain, penalty)
    return new


def best_response(old: Tensor, gain: Tensor, penalty: Tensor) -> Tensor:
    """The best action in each state, with certainty; the penalty is ignored."""
    return torch.nn.functional.one_hot(gain.argmax(-1), gain.shape[-1]).to(old.dtype)


def trust_region(old: Tensor, gain: Tensor, penalty: Tensor) -> Tensor:
    """The policy that maximizes `objective`, found by a search over one number: the largest divergence.

    Given that number, each state has its own exact solution. The old policy is among the candidates, so that the
    objective of the result is never negative.
    """
    low, high = [torch.full_like(penalty, bound) for bound in LOG_BUDGET]
    grid = torch.linspace(0.0, 1.0, BUDGETS, dtype=old.dtype)[:, None]
    best = old
    best_score = torch.zeros_like(penalty)
    for _ in range(ROUNDS):
        budgets = low + (high - low) * grid  # [B, G]
        candidates = _within(old, gain, budgets.exp())
        scores, top = objective(old, candidates, gain, penalty).max(0)
        chosen = candidates[top, torch.arange(len(top))]
        best = torch.where((scores > best_score)[:, None, None], chosen, best)
        best_score = torch.maximum(scores, best_score)
        step = (high - low) / (BUDGETS - 1)
        middle = budgets.gather(0, top[None])[0]
        low = middle - step
        high = middle + step
    return best


def objective(old: Tensor, new: Tensor, gain: Tensor, penalty: Tensor) -> Tensor:
    """L - C max_s KL(old, new) of Algorithm 1: new [..., G, S, N] -> [..., G]; `gain` is weighted by the visits."""
    divergence = (old * (old.log() - new.log())).sum(-1)
    return (new * gain).sum((-1, -2)) - penalty * divergence.amax(-1)


def _within(old: Tensor, gain: Tensor, budget: Tensor) -> Tensor:
    """The policies of the largest gain with KL(old, new) <= budget in each state: budget [B, G] -> [B, G, S, N].

    Each is old / (slack + best gain - gain), normalized, for some slack > 0 (from the Lagrangian); the divergence falls
    with the slack, which is found by bisection.
    """
    gap = gain.amax(-1, keepdim=True) - gain
    gap = gap / gap.amax(-1, keepdim=True).clamp(min=1e-300)
    shape = budget.shape + gain.shape[1:2] + (1,)
    low, high = [torch.full(shape, bound, dtype=old.dtype) for bound in LOG_SLACK]
    for _ in range(HALVINGS):
        middle = (low + high) / 2.0
        distance = middle.exp() + gap
        divergence = (old * distance.log()).sum(-1, keepdim=True) + (old / distance).sum(-1, keepdim=True).log()
        inside = divergence <= budget[..., None, None]
        low = torch.where(inside, low, middle)
        high = torch.where(inside, middle, high)
    new = old / (high.exp() + gap)
    return new / new.sum(-1, keepdim=True)


def _along(agent_policy: Tensor, i: int, quantity: Tensor) -> Tensor:
    """Agent i's policy [G, S, N_i] as a factor for [G, S, N_1, ..., N_n]."""
    shape = [1] * quantity.dim()
    shape[:2] = agent_policy.shape[:2]
    shape[2 + i] = agent_policy.shape[2]
    return agent_policy.reshape(shape)
