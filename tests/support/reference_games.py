"""Finite cooperative Markov games from their definitions (Zhong et al., 2024, Section 2.1), one number at a time."""

import itertools
import math

SWEEPS = 600  # 0.9 ** 600 is 3e-28


class LiteralGame:
    """Game `g` of a batch of finite games under a joint policy, in lists and loops."""

    def __init__(self, game, policy, g):
        self.reward = game.reward[g].tolist()
        self.transition = game.transition[g].tolist()
        self.start = game.start[g].tolist()
        self.gamma = float(game.gamma[g])
        self.policy = [own[g].tolist() for own in policy]  # [agent][state][action]
        self.sizes = [len(own[0]) for own in self.policy]
        self.states = range(len(self.start))
        self.agents = range(len(self.policy))
        self.value = [0.0 for _ in self.states]
        for _ in range(SWEEPS):
            self.value = [sum(self.probability(s, a) * self.q(s, a) for a in self.joint_actions()) for s in self.states]

    def joint_actions(self):
        return itertools.product(*[range(size) for size in self.sizes])

    def probability(self, s, a):
        return math.prod(self.policy[i][s][a[i]] for i in self.agents)

    def q(self, s, a):
        after = look_up(self.transition[s], a)
        return look_up(self.reward[s], a) + self.gamma * sum(after[t] * self.value[t] for t in self.states)

    def advantage(self, s, a):
        return self.q(s, a) - self.value[s]

    def visits(self):
        """sum_t gamma^t P(s_t = s)"""
        now = list(self.start)
        total = [0.0 for _ in self.states]
        for t in range(SWEEPS):
            total = [total[s] + self.gamma**t * now[s] for s in self.states]
            now = [
                sum(
                    now[s] * self.probability(s, a) * look_up(self.transition[s], a)[after]
                    for s in self.states
                    for a in self.joint_actions()
                )
                for after in self.states
            ]
        return total

    def q_of(self, s, chosen):
        """Definition 3: the mean of Q over the actions of the agents that are not in {agent: action}."""
        total = 0.0
        for a in self.joint_actions():
            if all(a[i] == action for i, action in chosen.items()):
                others = math.prod(self.policy[i][s][a[i]] for i in self.agents if i not in chosen)
                total += others * self.q(s, a)
        return total

    def advantage_of(self, s, agents, given, a):
        """Equation 1: of the agents' actions in the joint action a, after those of the agents `given`."""
        known = {i: a[i] for i in given}
        return self.q_of(s, {**known, **{i: a[i] for i in agents}}) - self.q_of(s, known)

    def left_side(self, s, before, i, new):
        """Proposition 9's: the mean of A^i over actions of `before` and of i, from the policies `new`."""
        total = 0.0
        members = (*before, i)
        for part in itertools.product(*[range(self.sizes[j]) for j in members]):
            a = dict(zip(members, part))
            weight = math.prod(new[j][s][a[j]] for j in members)
            total += weight * self.advantage_of(s, (i,), before, a)
        return total

    def right_side(self, s, before, i, new):
        """Proposition 9's: a mean over joint actions of the old policy, with probability ratios."""
        total = 0.0
        for a in self.joint_actions():
            ratio = [new[j][s][a[j]] / self.policy[j][s][a[j]] for j in self.agents]
            factor = math.prod(ratio[j] for j in before)
            total += self.probability(s, a) * (ratio[i] - 1.0) * factor * self.advantage(s, a)
        return total


def look_up(nested, a):
    for action in a:
        nested = nested[action]
    return nested


def largest_divergence(old, new):
    """max_s KL(old, new) of one agent's policies [state][action]."""
    return max(sum(p * math.log(p / q) for p, q in zip(*rows)) for rows in zip(old, new))
